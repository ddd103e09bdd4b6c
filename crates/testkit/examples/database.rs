//! A database server for scripts: `database mariadb|postgres` starts one and, for each line on
//! standard input, makes an empty database and prints its URL. It ends with its input.

use std::io::{BufRead as _, Write as _};

use testkit::{MariaDb, Postgres};

fn main() {
    let kind = std::env::args().nth(1).unwrap_or_default();
    let new: Box<dyn Fn() -> String> = match kind.as_str() {
        "mariadb" => {
            let server = MariaDb::start();
            Box::new(move || server.database())
        }
        "postgres" => {
            let server = Postgres::start();
            Box::new(move || server.database())
        }
        _ => {
            eprintln!("usage: database mariadb|postgres");
            std::process::exit(64);
        }
    };
    for _line in std::io::stdin().lock().lines().map_while(Result::ok) {
        println!("{}", new());
        std::io::stdout().flush().expect("standard output is open");
    }
}
