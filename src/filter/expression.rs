//! Expressions of minijinja in rules: what they may take and know, what of them is tried when they are read, and what they say
//! of a candidate.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, OnceLock},
};

use regex::Regex;

use super::{Field, Type, Value, pattern::regex};

/// Steps that an expression may take.
const FUEL: u64 = 10_000;

/// Why an expression has no answer for a candidate.
pub type Failure = minijinja::Error;

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    /// How it was written.
    pub(super) text: String,
    /// The fields in it, by the name that stands for each.
    pub(super) fields: Vec<(String, Field)>,
    compiled: Arc<minijinja::Expression<'static, 'static>>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expression {
    /// Compiles an expression, and tries it.
    ///
    /// # Errors
    /// It is not valid, names a field that is not there, or fails for whatever row.
    pub(super) fn new(text: String) -> Result<Self, String> {
        static ENVIRONMENT: OnceLock<minijinja::Environment<'static>> = OnceLock::new();
        let environment = ENVIRONMENT.get_or_init(|| {
            let mut environment = minijinja::Environment::new();
            environment.set_fuel(Some(FUEL));
            environment.add_filter("matches", matches);
            environment
        });
        let compiled =
            environment.compile_expression_owned(text.clone()).map_err(|e| format!("the expression {text:?}: {e}"))?;
        let mut fields = Vec::new();
        for name in compiled.undeclared_variables(true) {
            let field = Field::named(&name)?;
            fields.push((name, field));
        }
        fields.sort();
        for literal in patterns(&text) {
            let pattern = environment.compile_expression(literal).and_then(|literal| literal.eval(()));
            regex(pattern.map_err(|e| format!("the expression {text:?}: {e}"))?.as_str().unwrap_or_default())?;
        }
        let expression = Expression { text, fields, compiled: Arc::new(compiled) };
        let tries = EXAMPLES.map(|values| expression.holds(|field| example_value(field, values)));
        match tries.into_iter().reduce(|first, next| if first.is_ok() { first } else { next.or(first) }) {
            Some(Err(failure)) => {
                Err(format!("the expression {:?} can't be told of any row: {failure}", expression.text))
            }
            _ => Ok(expression),
        }
    }

    /// Whether it is true where fields have the values that `value` gives.
    ///
    /// # Errors
    /// It fails there: a type that does not fit, a field without a value, too many steps.
    pub fn holds<'v>(&self, value: impl Fn(&Field) -> Value<'v>) -> Result<bool, Failure> {
        let value = |field| match value(field) {
            Value::Missing => minijinja::Value::from(()),
            Value::Text(text) => minijinja::Value::from(text.as_ref()),
            Value::Number(number) if number.fract() == 0.0 => minijinja::Value::from(number as i64),
            Value::Number(number) => minijinja::Value::from(number),
            Value::Flag(flag) => minijinja::Value::from(flag),
        };
        let mut context: BTreeMap<&str, minijinja::Value> = BTreeMap::new();
        let mut columns: BTreeMap<&str, minijinja::Value> = BTreeMap::new();
        for (name, field) in &self.fields {
            match field {
                Field::Column(column) => columns.insert(column, number_or_text(value(field))),
                _ => context.insert(name, value(field)),
            };
        }
        context.insert("column", minijinja::Value::from_pairs(columns));
        Ok(self.compiled.eval(context)?.is_true())
    }
}

/// Columns of lists are text; what reads as a number is one in an expression.
fn number_or_text(value: minijinja::Value) -> minijinja::Value {
    let Some(text) = value.as_str().map(str::trim) else { return value };
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) if number.is_finite() => number.into(),
        _ => value,
    }
}

/// On what expressions are tried when they are read: what text, number and flag are there. One that fails on all of
/// them has a mistake; one that fails on some may be meant for others.
const EXAMPLES: [(&str, f64, bool); 3] = [("Add a pager", 3.0, true), ("1", 1.0, false), ("2.5", 2.5, true)];

fn example_value(field: &Field, (text, number, flag): (&'static str, f64, bool)) -> Value<'static> {
    match field.value_type() {
        Type::Text | Type::Column => Value::from(text),
        Type::Number => Value::Number(number),
        Type::Flag => Value::Flag(flag),
    }
}

/// The quoted texts in an expression that are given to `matches`, with their quotes.
fn patterns(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(from) = text[at..].find(['"', '\'']).map(|from| at + from) {
        let quote = text.as_bytes()[from];
        let mut to = from + 1;
        while to < text.len() && text.as_bytes()[to] != quote {
            to += if text.as_bytes()[to] == b'\\' { 2 } else { 1 };
        }
        let before = text[..from].trim_end().strip_suffix('(').map(str::trim_end);
        if before.is_some_and(|before| before.ends_with("matches")) && to < text.len() {
            found.push(&text[from..=to]);
        }
        at = text.ceil_char_boundary((to + 1).min(text.len()));
    }
    found
}

/// Expressions of `matches` that are kept. Those in the text of a rule are few; one that comes from a row's field may be any.
const PATTERNS_MAX: usize = 64;

/// The filter `text | matches("expression")`; each expression is compiled once on each thread.
fn matches(text: &str, pattern: &str) -> Result<bool, minijinja::Error> {
    thread_local! {
        static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::new(HashMap::new());
    }
    KNOWN.with_borrow_mut(|known| {
        if let Some(expression) = known.get(pattern) {
            return Ok(expression.is_match(text));
        }
        let compiled = regex(pattern).map_err(|e| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, e))?;
        let is_match = compiled.is_match(text);
        if known.len() == PATTERNS_MAX {
            known.clear();
        }
        known.insert(pattern.to_owned(), compiled);
        Ok(is_match)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_out_of_rows_are_not_kept_for_ever() {
        for round in 0..2 {
            for most in 0..3 * PATTERNS_MAX {
                let found = matches("aaab", &format!("^a{{0,{most}}}b$")).expect("a valid expression");
                assert_eq!(found, most >= 3, "{round} {most}");
            }
        }
        assert!(matches("a", "(").is_err());
    }
}
