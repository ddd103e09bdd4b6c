//! Statements as the statistics use them, and those that are refused.

use proptest::prelude::*;

use super::*;

/// A log of grabs; the first two rows are one line that was delivered twice.
fn log(wanted: Option<&[String]>) -> Result<Relation, SqlError> {
    let names = ["__time__", "node", "seq", "outcome", "weight", "latency"];
    let rows = [
        (60, "a", 1, "won", 1, Some(10)),
        (60, "a", 1, "won", 1, Some(10)),
        (61, "a", 2, "missed", 5, None),
        (125, "b", 1, "missed", 7, Some(30)),
        (126, "b", 2, "rejected", 1, Some(20)),
    ];
    let rows = rows.map(|(time, node, seq, outcome, weight, latency)| {
        vec![
            Value::Int(time),
            Value::Text(node.into()),
            Value::Int(seq),
            Value::Text(outcome.into()),
            Value::Int(weight),
            latency.map_or(Value::Null, Value::Int),
        ]
    });
    let all: Vec<String> = names.map(String::from).to_vec();
    let columns = wanted.map_or(all.clone(), <[String]>::to_vec);
    let place = |name: &String| {
        let place = all.iter().position(|known| known == name);
        place.ok_or_else(|| SqlError::new(format!("no column {name}")))
    };
    let places: Vec<usize> = columns.iter().map(place).collect::<Result<_, _>>()?;
    let pick = |row: &Vec<Value>| places.iter().map(|&at| row[at].clone()).collect();
    let rows = rows.iter().map(pick).collect();
    Ok(Relation { columns, rows })
}

fn ask(sql: &str) -> Result<Vec<String>, SqlError> {
    let relation = run(&parse(sql)?, &log, &(0..300))?;
    let header = relation.columns.join(",");
    let row = |row: Vec<Value>| {
        row.iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    Ok(std::iter::once(header)
        .chain(relation.rows.into_iter().map(row))
        .collect())
}

#[track_caller]
fn assert_answer(sql: &str, expected: &[&str]) {
    assert_eq!(
        ask(sql).as_deref(),
        Ok(expected.map_owned().as_slice()),
        "{sql}"
    );
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn the_query_of_the_statistics() {
    assert_answer(
        "select __time__ as t, outcome, count(*) as n group by t, outcome order by t limit 10000",
        &[
            "t,outcome,n",
            "60,won,2",
            "61,missed,1",
            "125,missed,1",
            "126,rejected,1",
        ],
    );
}

#[test]
fn repeated_deliveries_count_once_through_an_inner_statement() {
    assert_answer(
        "SELECT outcome, sum(weight) AS grabs FROM (SELECT node, seq, max(outcome) AS outcome, \
         max(weight) AS weight FROM log GROUP BY node, seq) GROUP BY outcome ORDER BY grabs DESC",
        &["outcome,grabs", "missed,12", "rejected,1", "won,1"],
    );
}

#[test]
fn time_buckets_where_having_and_positions() {
    assert_answer(
        "select __time__ - __time__ % 60 as minute, sum(weight) as w from log \
         where outcome <> 'rejected' group by 1 having w > 1 order by 2 desc, minute",
        &["minute,w", "60,7", "120,7"],
    );
}

#[test]
fn charts_as_dashboards_usually_ask_for_them() {
    assert_answer(
        "select date_format(from_unixtime(__time__ - __time__% 60), '%H:%i:%S') as minutes, \
         approx_distinct(node) as uv, count(1) as pv, avg(latency) as avg group by minutes \
         order by minutes asc limit 100000",
        &[
            "minutes,uv,pv,avg",
            "08:01:00,1,3,10.0",
            "08:02:00,1,2,25.0",
        ],
    );
    assert_answer(
        "SELECT DATE_FORMAT(DATE_TRUNC('minute', __time__), '%m-%d %H:%i') AS t, outcome, \
         COUNT(*) AS pv GROUP BY t, outcome ORDER BY t ASC, pv DESC LIMIT 10000;",
        &[
            "t,outcome,pv",
            "01-01 08:01,won,2",
            "01-01 08:01,missed,1",
            "01-01 08:02,missed,1",
            "01-01 08:02,rejected,1",
        ],
    );
    assert_answer(
        "select date_trunc('hour', from_unixtime(__time__)) as time, \
         round(count_if(outcome = 'won') * 100.0 / count(*), 2) as won group by 1 order by time",
        &["time,won", "1970-01-01 08:00:00.000,40.0"],
    );
    assert_answer(
        "select from_unixtime(__time__ - __time__ % 300) as time, max(latency) as most \
         group by __time__ - __time__ % 300",
        &["time,most", "1970-01-01 08:00:00.000,30"],
    );
}

#[test]
fn windows_without_logs_are_padded() {
    assert_answer(
        "select time_series(__time__, '1m', '%H:%i:%s' ,'0') as Time, count(1) as PV, \
         avg(latency) as l group by Time order by Time limit 100",
        &[
            "Time,PV,l",
            "08:00:00,0,0",
            "08:01:00,3,10.0",
            "08:02:00,2,25.0",
            "08:03:00,0,0",
            "08:04:00,0,0",
        ],
    );
    assert_answer(
        "select time_series(__time__, '2m', '%H:%i', 'null') as t, sum(weight) as n from log \
         where node = 'b' group by t order by t",
        &["t,n", "08:00,null", "08:02,8", "08:04,null"],
    );
    // Two kinds of groups: what is there, and no more. And as a function of one row.
    assert_answer(
        "select time_series(__time__, '1h', '%H', '0') as t, node, count(*) as n group by t, node",
        &["t,node,n", "08,a,3", "08,b,2"],
    );
    assert_answer(
        "select time_series(seq, '1d', '%d %T', '0') as t limit 1",
        &["t", "01 00:00:00"],
    );
    for (arguments, word) in [
        ("__time__, '1x', '%H', '0'", "1x"),
        ("__time__, '0m', '%H', '0'", "0m"),
        ("__time__, '', '%H', '0'", "window"),
        ("__time__, '中', '%H', '0'", "中"),
        ("__time__, '9223372036854775807d', '%H', '0'", "window"),
        ("__time__, '1m', '%H', 'avg'", "avg"),
        ("__time__, '1m', '%Q', '0'", "%Q"),
        ("__time__, '1m'", "time_series"),
    ] {
        let sql = format!("select time_series({arguments}) as t, count(*) group by t");
        let error = ask(&sql).expect_err(&sql);
        assert!(error.0.contains(word), "{sql}: {error}");
    }
    let long = parse("select time_series(__time__, '1s', '%T', '0') as t, count(*) group by t");
    let error = run(&long.expect("fine"), &log, &(0..1_000_000)).expect_err("too many");
    assert!(error.0.contains("windows"), "{error}");
}

#[test]
fn functions_of_many_rows() {
    assert_answer(
        "select count(*), count(latency), count(distinct node) as nodes, sum(weight), \
         avg(weight), min(latency), max(latency), approx_percentile(latency, 0.5) as p50, \
         max_by(outcome, weight) as most, count_if(weight > 1) as many",
        &[
            "_col0,_col1,nodes,_col3,_col4,_col5,_col6,p50,most,many",
            "5,4,2,15,3.0,10,30,10,missed,2",
        ],
    );
    assert_answer(
        "select count(*) as n, sum(weight) as w, avg(latency) from log where false",
        &["n,w,_col2", "0,null,null"],
    );
    assert_answer(
        "select count(*) as n where weight > 99 group by node",
        &["n"],
    );
}

#[test]
fn expressions() {
    assert_answer(
        "select distinct upper(node) || '!' as n, case when weight > 4 then 'big' else 'small' \
         end as size, if(latency is null, -1, latency) as l, cast(seq as varchar) as s from log \
         where outcome in ('won', 'missed') and (outcome like 'w%' or not latency between 0 and 9) \
         order by n limit 10",
        &["n,size,l,s", "A!,small,10,1", "B!,big,30,1"],
    );
    assert_answer(
        "select 7 / 2 as i, 7 / 2.0 as f, 7 % 4 as m, 2 + 3 * 4 as p, round(2.345, 2) as r limit 1",
        &["i,f,m,p,r", "3,3.5,3,14,2.35"],
    );
    assert_answer(
        "select * from log limit 1",
        &[
            "__time__,node,seq,outcome,weight,latency",
            "60,a,1,won,1,10",
        ],
    );
    assert_answer(
        "select seq order by __time__ desc limit 1, 2",
        &["seq", "1", "2"],
    );
}

#[test]
fn nulls_are_last_in_both_directions() {
    assert_answer(
        "select latency where node = 'a' and seq = 2 or node = 'b' order by latency",
        &["latency", "20", "30", "null"],
    );
    assert_answer(
        "select latency where node = 'a' and seq = 2 or node = 'b' order by latency desc",
        &["latency", "30", "20", "null"],
    );
    // So a page of the first rows shows the greatest, not what is not known.
    assert_answer(
        "select node, seq, max(latency) as l group by node, seq order by l desc limit 1",
        &["node,seq,l", "b,1,30"],
    );
}

#[test]
fn values_of_several_types_are_sorted_by_type_and_then_by_value() {
    assert_answer(
        "select case seq when 1 then case node when 'a' then '9' else 10 end else \
         case node when 'a' then null else 9.5 end end as v from log order by v",
        &["v", "9.5", "10", "9", "9", "null"],
    );
}

#[test]
fn rows_are_limited_unless_asked_otherwise() {
    let many = |_: Option<&[String]>| {
        Ok(Relation {
            columns: vec!["n".into()],
            rows: (0..300).map(|n| vec![Value::Int(n)]).collect(),
        })
    };
    let rows = |sql: &str| run(&parse(sql).expect("fine"), &many, &(0..1)).map(|r| r.rows.len());
    assert_eq!(rows("select n"), Ok(ROWS_DEFAULT));
    assert_eq!(rows("select n limit 250"), Ok(250));
    assert_eq!(rows("select n from (select n from log) limit 290"), Ok(290));
    assert!(rows("select n limit 1000001").is_err());
}

#[test]
fn what_is_not_supported_is_named() {
    for (sql, word) in [
        ("selec 1", "selec"),
        ("select", "early"),
        ("select frobnicate(seq)", "frobnicate"),
        ("select stddev(seq), count(*)", "stddev"),
        ("select nothing", "nothing"),
        ("select seq, count(*)", "seq"),
        ("select seq group by 5", "5"),
        ("select count(*) where count(*) > 1", "WHERE"),
        ("select 1 / 0", "zero"),
        ("select outcome + 1", "won"),
        (
            "select seq from log join b on 1 = 1",
            "`join` is not supported",
        ),
        ("WITH a AS (select 1) select 1", "`WITH` is not supported"),
        ("select seq union select weight", "`union` is not supported"),
        (
            "select sum(seq) over (order by seq)",
            "`over` is not supported",
        ),
        (
            "select seq order by seq nulls first",
            "`nulls` is not supported",
        ),
        (
            "select outcome like 'a' escape '!'",
            "`escape` is not supported",
        ),
        ("select approx_percentile(seq, 7)", "between"),
        ("select sum(count(*))", "nested"),
    ] {
        let error = ask(sql).expect_err(sql);
        assert!(error.0.contains(word), "{sql}: {error}");
    }
    let deep = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(ask(&deep).expect_err("too deep").0.contains("deep"));
    for (first, again) in [
        ("1", "+1"),
        ("1", "*1"),
        ("true", " and true"),
        ("true", " or true"),
    ] {
        let most = format!("select {first}{}", again.repeat(250));
        ask(&most).expect("as many as there may be");
        let more = format!("select {first}{}", again.repeat(50_000));
        assert!(ask(&more).expect_err(again).0.contains("operators"));
    }
    let twice = |inner: String, by: &str| match by {
        "||" => format!("select a || a as a from ({inner})"),
        _ => format!("select concat(a, a) as a from ({inner})"),
    };
    for by in ["||", "concat"] {
        let doubled = (0..30).fold("select 'xx' as a from log".to_owned(), |sql, _| {
            twice(sql, by)
        });
        assert!(ask(&doubled).expect_err(by).0.contains("longer"));
    }
    let minus = format!("select {}1", "- ".repeat(50_000));
    assert!(ask(&minus).expect_err("too deep").0.contains("deep"));
}

fn any_value() -> impl Strategy<Value = Value> {
    // Few of each, and those that an order trips over: what differs only beyond a float's digits,
    // numbers in text, and what is not a number.
    let int = prop_oneof![-2..12_i64, (1_i64 << 53)..(1 << 53) + 3, Just(i64::MAX)];
    let float = prop_oneof![
        Just(f64::NAN),
        Just(-0.0),
        Just(9.5),
        Just((1_i64 << 53) as f64),
        Just(f64::INFINITY),
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        int.prop_map(Value::Int),
        float.prop_map(Value::Float),
        "[0-9a]{0,2}|NaN".prop_map(Value::Text),
    ]
}

proptest! {
    #[test]
    fn the_order_of_values_is_total(a in any_value(), b in any_value(), c in any_value()) {
        prop_assert_eq!(a.order(&b), b.order(&a).reverse());
        if a.order(&b).is_le() && b.order(&c).is_le() {
            prop_assert!(a.order(&c).is_le(), "{a:?} {b:?} {c:?}");
        }
        if a.order(&b).is_eq() {
            prop_assert_eq!(a.order(&c), b.order(&c));
        }
    }

    #[test]
    fn nothing_panics(words in proptest::collection::vec(
        prop_oneof![
            "select|from|log|where|group by|order by|limit|[(]|[)]|,|[*]|-|/|%|=|<|and|or|not|in",
            "case|when|then|end|count|sum|substr|seq|weight|outcome|latency|'x'|0|1|9|0.5|null",
        ],
        0..14,
    )) {
        // An answer or a refusal; either is fine.
        if let Err(error) = ask(&format!("select {}", words.join(" "))) {
            prop_assert!(!error.0.is_empty());
        }
    }

    #[test]
    fn weights_add_up_however_they_are_grouped(modulus in 1_i64..9) {
        let answer = ask(&format!(
            "select sum(w) as s from (select sum(weight) as w from log group by seq % {modulus})"
        ));
        prop_assert_eq!(answer, Ok(vec!["s".to_owned(), "15".to_owned()]));
    }
}
