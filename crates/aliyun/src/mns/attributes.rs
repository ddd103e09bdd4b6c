//! The attributes of a queue as XML, and their limits and defaults: for requests and replies.

use super::Code;
use super::model::{
    BATCH_BYTES_MAX, PartError, QueueAttributes, RETENTION_SECONDS_MAX, VISIBILITY_SECONDS_MAX,
    WAIT_SECONDS_MAX,
};
use crate::xml::Element;

/// A numeric attribute: its name, its least and greatest value, its default, and its place.
struct Number {
    name: &'static str,
    least: u32,
    most: u32,
    default: u32,
    get: fn(&QueueAttributes) -> Option<u32>,
    place: fn(&mut QueueAttributes) -> &mut Option<u32>,
}

const BODY_BYTES_MAX: u32 = BATCH_BYTES_MAX as u32;

const NUMBERS: [Number; 5] = [
    Number {
        name: "VisibilityTimeout",
        least: 1,
        most: VISIBILITY_SECONDS_MAX,
        default: 30,
        get: |a| a.visibility_timeout,
        place: |a| &mut a.visibility_timeout,
    },
    Number {
        name: "MaximumMessageSize",
        least: 1_024,
        most: BODY_BYTES_MAX,
        default: BODY_BYTES_MAX,
        get: |a| a.maximum_message_size,
        place: |a| &mut a.maximum_message_size,
    },
    Number {
        name: "MessageRetentionPeriod",
        least: 60,
        most: RETENTION_SECONDS_MAX,
        default: 345_600,
        get: |a| a.message_retention_period,
        place: |a| &mut a.message_retention_period,
    },
    Number {
        name: "DelaySeconds",
        least: 0,
        most: RETENTION_SECONDS_MAX,
        default: 0,
        get: |a| a.delay_seconds,
        place: |a| &mut a.delay_seconds,
    },
    Number {
        name: "PollingWaitSeconds",
        least: 0,
        most: WAIT_SECONDS_MAX,
        default: 0,
        get: |a| a.polling_wait_seconds,
        place: |a| &mut a.polling_wait_seconds,
    },
];

const LOGGING: &str = "LoggingEnabled";

impl QueueAttributes {
    /// These, and the service's defaults for the others.
    #[must_use]
    pub fn or_defaults(&self) -> Self {
        let mut all = *self;
        for number in &NUMBERS {
            (number.place)(&mut all).get_or_insert(number.default);
        }
        all.logging_enabled.get_or_insert(false);
        all
    }

    /// These, and those of `other` for the others.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut all = *self;
        for number in &NUMBERS {
            let place = (number.place)(&mut all);
            *place = place.or((number.get)(other));
        }
        all.logging_enabled = all.logging_enabled.or(other.logging_enabled);
        all
    }

    /// Checks those that are given against the service's limits.
    ///
    /// # Errors
    /// `InvalidArgument` of the first that is outside of them.
    pub fn check(&self) -> Result<(), PartError> {
        for number in &NUMBERS {
            let (least, most) = (number.least, number.most);
            if let Some(value) = (number.get)(self)
                && !(least..=most).contains(&value)
            {
                return Err(invalid(number.name, &format!("between {least} and {most}")));
            }
        }
        Ok(())
    }

    /// The elements of those that are given.
    #[must_use]
    pub fn elements(&self) -> Vec<Element> {
        let given = |number: &Number| {
            let value = (number.get)(self)?;
            Some(Element::leaf(number.name, value.to_string()))
        };
        let mut elements: Vec<_> = NUMBERS.iter().filter_map(given).collect();
        if let Some(logging) = self.logging_enabled {
            let text = if logging { "True" } else { "False" };
            elements.push(Element::leaf(LOGGING, text));
        }
        elements
    }

    /// Those that are given inside `queue`. Empty elements are passed over.
    ///
    /// # Errors
    /// `InvalidArgument` of the first that is no number, or no truth value.
    pub fn parse(queue: &Element) -> Result<Self, PartError> {
        let mut attributes = Self::default();
        for number in &NUMBERS {
            if let Some(text) = given(queue, number.name) {
                let value = text.parse().map_err(|_| invalid(number.name, "a number"))?;
                *(number.place)(&mut attributes) = Some(value);
            }
        }
        if let Some(text) = given(queue, LOGGING) {
            let value = match text {
                "True" | "true" | "1" => true,
                "False" | "false" | "0" => false,
                _ => return Err(invalid(LOGGING, "True or False")),
            };
            attributes.logging_enabled = Some(value);
        }
        Ok(attributes)
    }
}

fn given<'a>(queue: &'a Element, name: &str) -> Option<&'a str> {
    let text = queue.text_of(name)?.trim();
    (!text.is_empty()).then_some(text)
}

fn invalid(name: &str, what: &str) -> PartError {
    PartError {
        code: Code::InvalidArgument,
        message: format!("The value of {name} should be {what}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_go_there_and_back() {
        let some = QueueAttributes {
            visibility_timeout: Some(2),
            logging_enabled: Some(true),
            ..QueueAttributes::default()
        };
        let root = Element::node("Queue", some.elements());
        assert_eq!(root.children.len(), 2);
        assert_eq!(QueueAttributes::parse(&root), Ok(some));
        let all = some.or_defaults();
        assert_eq!(all.maximum_message_size, Some(65_536));
        assert_eq!(all.visibility_timeout, Some(2));
        let other = QueueAttributes {
            visibility_timeout: Some(9),
            delay_seconds: Some(7),
            ..QueueAttributes::default()
        };
        let both = some.or(&other);
        assert_eq!(both.visibility_timeout, Some(2));
        assert_eq!(both.delay_seconds, Some(7));
        let root = Element::node("Queue", all.elements());
        assert_eq!(QueueAttributes::parse(&root), Ok(all));
    }

    #[test]
    fn limits_are_those_of_the_service() {
        let check = |name: &str, value: &str| {
            let root = Element::node("Queue", vec![Element::leaf(name, value)]);
            QueueAttributes::parse(&root)
                .and_then(|a| a.check())
                .is_ok()
        };
        for (name, least, most) in [
            ("DelaySeconds", 0, 604_800),
            ("MaximumMessageSize", 1_024, 65_536),
            ("MessageRetentionPeriod", 60, 604_800),
            ("VisibilityTimeout", 1, 43_200),
            ("PollingWaitSeconds", 0, 30),
        ] {
            assert!(check(name, &least.to_string()) && check(name, &most.to_string()));
            assert!(!check(name, &(least - 1).to_string()), "{name}");
            assert!(!check(name, &(most + 1).to_string()), "{name}");
            assert!(check(name, "") && !check(name, "many"), "{name}");
        }
        assert!(!check("LoggingEnabled", "perhaps"));
    }
}
