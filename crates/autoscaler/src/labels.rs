//! What the labels of a service's containers say. Pure.
//!
//! Each name exists twice: ours, and the one that the mission's container service used
//! (`aliyun.scale`, `aliyun.auto_scaling.max_cpu` and so on). Ours wins where both are there. An
//! unknown name of ours is a misspelling and refused; one of theirs is something that only their
//! service did, such as scaling by memory, and is passed over.

use std::collections::BTreeMap;

use crate::rule::Rule;

/// Labels as Docker gives them.
pub type Labels = BTreeMap<String, String>;

/// The most instances that a label may ask for: what a balancer in front has places for is less.
pub const INSTANCES_MAX: u32 = 100;
/// The largest threshold, in percent: of one CPU, for a container without a limit, on a large
/// machine.
const CPU_MAX: f64 = 100_000.0;

const OURS: &str = "hongbao.";
const THEIRS: &str = "aliyun.";
const SCALE: &str = "scale";
const AUTO: &str = "auto_scaling.";
const NAMES: [&str; 5] = [
    "max_cpu",
    "min_cpu",
    "step",
    "max_instances",
    "min_instances",
];

/// What a service asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// What it keeps to.
    pub rule: Rule,
    /// How many it begins with.
    pub scale: Option<u32>,
}

/// A label that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label {label}={value}: {wrong}")]
pub struct BadLabel {
    /// Its name.
    pub label: String,
    /// What it says.
    pub value: String,
    /// What is wrong with that.
    pub wrong: String,
}

/// What `labels` ask for; `None` when they do not ask to be scaled.
///
/// # Errors
/// The first label that cannot be followed.
pub fn wish(labels: &Labels) -> Result<Option<Wish>, BadLabel> {
    let told = Told(labels);
    let scaled = told.refuse_unknown()?;
    let scale = told.whole(SCALE, 1)?;
    let Some(mode) = scaled.or(scale.map(|_| Mode::Fixed)) else {
        return Ok(None);
    };
    let rule = match (mode, scale) {
        (Mode::Fixed, Some(scale)) => Rule {
            min_instances: scale,
            max_instances: scale,
            ..Rule::default()
        },
        _ => told.rule()?,
    };
    Ok(Some(Wish { rule, scale }))
}

impl Default for Rule {
    /// The mission's example: 70/40/1.
    fn default() -> Self {
        Self {
            max_cpu: 70.0,
            min_cpu: 40.0,
            step: 1,
            min_instances: 1,
            max_instances: 10,
        }
    }
}

/// How a service is scaled.
enum Mode {
    /// By its use of CPU.
    Automatic,
    /// To one number.
    Fixed,
}

struct Told<'a>(&'a Labels);

impl Told<'_> {
    /// The label `name` and what it says.
    fn get(&self, name: &str) -> Option<(String, &str)> {
        [OURS, THEIRS].into_iter().find_map(|whose| {
            let label = format!("{whose}{name}");
            let value = self.0.get(&label)?.trim();
            Some((label, value))
        })
    }

    /// Whether a label of automatic scaling is there.
    fn refuse_unknown(&self) -> Result<Option<Mode>, BadLabel> {
        let mut mode = None;
        for (label, value) in self.0 {
            let ours = label.strip_prefix(OURS);
            let name = ours.or_else(|| label.strip_prefix(THEIRS));
            let Some(name) = name.and_then(|name| name.strip_prefix(AUTO)) else {
                continue;
            };
            if NAMES.contains(&name) {
                mode = Some(Mode::Automatic);
            } else if ours.is_some() {
                let wrong = format!("there is no such label; there are {}", NAMES.join(", "));
                return Err(bad(label.clone(), value, wrong));
            }
        }
        Ok(mode)
    }

    fn rule(&self) -> Result<Rule, BadLabel> {
        let default = Rule::default();
        let auto = |name: &str| format!("{AUTO}{name}");
        let max_cpu = self.percent(&auto("max_cpu"))?.unwrap_or(default.max_cpu);
        let min_cpu = self.percent(&auto("min_cpu"))?;
        // Told an upper threshold alone that is below the usual lower one, both move.
        let min_cpu = min_cpu.unwrap_or(default.min_cpu.min(max_cpu * 4.0 / 7.0));
        let min_instances = self.whole(&auto("min_instances"), 1)?;
        let max_instances = self.whole(&auto("max_instances"), 1)?;
        let rule = Rule {
            max_cpu,
            min_cpu,
            step: self.whole(&auto("step"), 1)?.unwrap_or(default.step),
            min_instances: min_instances.unwrap_or(default.min_instances),
            max_instances: max_instances
                .unwrap_or(default.max_instances.max(min_instances.unwrap_or(0))),
        };
        if rule.min_cpu >= rule.max_cpu {
            let wrong = format!("must be below max_cpu, which is {}", rule.max_cpu);
            return Err(self.blame("min_cpu", "max_cpu", wrong));
        }
        if rule.min_instances > rule.max_instances {
            let most = rule.max_instances;
            let wrong = format!("must not be above max_instances, which is {most}");
            return Err(self.blame("min_instances", "max_instances", wrong));
        }
        Ok(rule)
    }

    /// The error of a label that does not go with another; the other when only that was told.
    fn blame(&self, name: &str, other: &str, wrong: String) -> BadLabel {
        let found = self
            .get(&format!("{AUTO}{name}"))
            .map(|it| (it, wrong.clone()));
        let found = found.or_else(|| {
            let other = self.get(&format!("{AUTO}{other}"))?;
            Some((other, format!("{name} {wrong}")))
        });
        match found {
            Some(((label, value), wrong)) => bad(label, value, wrong),
            None => bad(format!("{OURS}{AUTO}{name}"), "", wrong),
        }
    }

    fn whole(&self, name: &str, least: u32) -> Result<Option<u32>, BadLabel> {
        let Some((label, value)) = self.get(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(number) if (least..=INSTANCES_MAX).contains(&number) => Ok(Some(number)),
            _ => {
                let wrong = format!("must be a whole number from {least} to {INSTANCES_MAX}");
                Err(bad(label, value, wrong))
            }
        }
    }

    fn percent(&self, name: &str) -> Result<Option<f64>, BadLabel> {
        let Some((label, value)) = self.get(name) else {
            return Ok(None);
        };
        let number = value.strip_suffix('%').unwrap_or(value).trim();
        match number.parse::<f64>() {
            Ok(percent) if (0.0..=CPU_MAX).contains(&percent) => Ok(Some(percent)),
            _ => {
                let wrong = format!("must be a percentage from 0 to {CPU_MAX}");
                Err(bad(label, value, wrong))
            }
        }
    }
}

fn bad(label: String, value: &str, wrong: String) -> BadLabel {
    BadLabel {
        label,
        value: value.to_owned(),
        wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(told: &[(&str, &str)]) -> Labels {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        told.iter().map(owned).collect()
    }

    fn rule(told: &[(&str, &str)]) -> Rule {
        wish(&labels(told)).unwrap().expect("a wish").rule
    }

    fn refused(told: &[(&str, &str)]) -> String {
        wish(&labels(told)).expect_err("a refusal").to_string()
    }

    #[test]
    fn the_mission_s_template_is_understood() {
        let told = [
            ("aliyun.scale", "2"),
            ("aliyun.auto_scaling.max_cpu", "70"),
            ("aliyun.auto_scaling.min_cpu", "40"),
            ("aliyun.auto_scaling.step", "1"),
            ("aliyun.auto_scaling.max_memory", "95"),
            ("aliyun.probe.url", "http://container/test"),
        ];
        let wish = wish(&labels(&told)).unwrap().expect("a wish");
        assert_eq!(wish.rule, Rule::default());
        assert_eq!(wish.scale, Some(2));
    }

    #[test]
    fn ours_wins_and_every_name_counts() {
        let told = [
            ("aliyun.auto_scaling.max_cpu", "90"),
            ("hongbao.auto_scaling.max_cpu", " 50.5% "),
            ("hongbao.auto_scaling.min_cpu", "10"),
            ("hongbao.auto_scaling.step", "2"),
            ("hongbao.auto_scaling.max_instances", "12"),
            ("aliyun.auto_scaling.min_instances", "3"),
        ];
        let expected = Rule {
            max_cpu: 50.5,
            min_cpu: 10.0,
            step: 2,
            min_instances: 3,
            max_instances: 12,
        };
        assert_eq!(rule(&told), expected);
    }

    #[test]
    fn a_scale_alone_is_kept() {
        let rule = rule(&[("hongbao.scale", "3")]);
        assert_eq!((rule.min_instances, rule.max_instances), (3, 3));
    }

    #[test]
    fn what_does_not_ask_is_left_alone() {
        for told in [&[][..], &[("aliyun.probe.url", "x"), ("hongbao.role", "y")]] {
            assert_eq!(wish(&labels(told)), Ok(None));
        }
    }

    #[test]
    fn one_threshold_or_bound_alone_moves_the_other() {
        assert!(rule(&[("hongbao.auto_scaling.max_cpu", "35")]).min_cpu < 35.0);
        let many = rule(&[("hongbao.auto_scaling.min_instances", "20")]);
        assert_eq!((many.min_instances, many.max_instances), (20, 20));
    }

    #[test]
    fn wrong_labels_are_named_with_their_value() {
        let max = "hongbao.auto_scaling.max_cpu";
        for value in ["", "many", "-1", "NaN", "inf", "1e9"] {
            let said = refused(&[(max, value)]);
            assert!(said.contains(max) && said.contains(value), "{said}");
        }
        for value in ["0", "1.5", "101", "-3", ""] {
            for name in ["step", "min_instances", "max_instances"] {
                let label = format!("aliyun.auto_scaling.{name}");
                let said = refused(&[(&label, value)]);
                assert!(said.contains(&format!("{label}={value}")), "{said}");
            }
            assert!(refused(&[("hongbao.scale", value)]).contains("hongbao.scale"));
        }
        assert!(refused(&[("hongbao.auto_scaling.max_cpus", "70")]).contains("max_instances"));
    }

    #[test]
    fn thresholds_and_bounds_stand_the_right_way_round() {
        let min = "hongbao.auto_scaling.min_cpu";
        assert!(refused(&[(min, "70")]).contains("min_cpu=70"));
        let least = ("hongbao.auto_scaling.min_instances", "5");
        let most = ("hongbao.auto_scaling.max_instances", "4");
        assert!(refused(&[least, most]).contains("min_instances=5"));
    }
}
