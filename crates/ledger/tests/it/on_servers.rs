//! Makes each test of a module one of every database server.

/// `on_servers! { name, ... }`: for each async function `name(backend)` a test on MariaDB and one
/// on PostgreSQL.
macro_rules! on_servers {
    ($($name:ident),+ $(,)?) => {
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::servers::Backend::MariaDb).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::servers::Backend::Postgres).await;
            })+
        }
    };
}
pub(crate) use on_servers;
