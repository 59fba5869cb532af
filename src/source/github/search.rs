//! Searches for repositories. GitHub gives the first 1,000 results of one; a search with more is cut into parts, by when
//! repositories were made or by their stars, until each part fits.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Error,
    client::{Client, Known, Page},
};
use crate::source::{http::Url, time_of};

/// Results that one search gives (docs.github.com, "REST API endpoints for search").
const RESULTS_MAX: u64 = 1000;
/// Most parts of a search, however much it finds; a million requests take a week and more.
const PARTS_MAX: u64 = 100_000;
/// Most parts that are asked for on the way to one with more than [`RESULTS_MAX`]: two for each bit of a time, and itself.
const PARTS_EACH_MAX: u64 = 63;
/// How often an answer is asked for again that GitHub had no time to complete.
const RETRIES: u32 = 2;
/// 2007-10-01; GitHub's first repository is of that month.
const CREATED_FIRST: u64 = 1_191_196_800;

/// What a search did not give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Shortfall {
    /// Repositories that GitHub counts and does not give.
    pub missing: u64,
    /// Parts that GitHub had no time to complete.
    pub incomplete: u64,
    /// Parts that were asked for.
    pub parts: u64,
}

#[derive(Deserialize)]
struct Results {
    total_count: u64,
    incomplete_results: bool,
    items: Vec<Value>,
}

/// What a search is cut by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Created,
    Stars,
}

/// A part of a search: values from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    axis: Axis,
    from: u64,
    to: u64,
}

impl Axis {
    /// One that the query does not speak of itself.
    fn of(query: &str) -> Option<Axis> {
        let mut is_quoted = false;
        let words = query.split(|c: char| {
            is_quoted ^= c == '"';
            c.is_whitespace() && !is_quoted
        });
        let keys: Vec<String> = words
            .filter_map(|word| word.trim_start_matches('-').split_once(':'))
            .map(|(key, _)| key.to_ascii_lowercase())
            .collect();
        let is_free = |key: &str| !keys.iter().any(|given| given == key);
        [(Axis::Created, "created"), (Axis::Stars, "stars")]
            .into_iter()
            .find(|(_, key)| is_free(key))
            .map(|(axis, _)| axis)
    }

    /// All values that there are. The ends are fixed, so that the same parts are asked for tomorrow.
    fn whole(self) -> Part {
        let (from, to) = match self {
            // 34 years.
            Axis::Created => (CREATED_FIRST, CREATED_FIRST + (1 << 30) - 1),
            Axis::Stars => (0, (1 << 22) - 1),
        };
        Part { axis: self, from, to }
    }
}

impl Part {
    fn qualifier(self) -> String {
        let Part { from, to, .. } = self;
        let time = |seconds: u64| time_of(i64::try_from(seconds).unwrap_or(i64::MAX));
        match self.axis {
            Axis::Created => format!("created:{}..{}", time(from), time(to)),
            Axis::Stars => format!("stars:{from}..{to}"),
        }
    }

    fn halves(self) -> Option<[Part; 2]> {
        let middle = self.from + (self.to - self.from) / 2;
        (self.from < self.to).then_some([Part { to: middle, ..self }, Part { from: middle + 1, ..self }])
    }
}

/// Finds what `query` finds, and gives each to `found`.
pub(super) fn search(client: &mut Client<'_>, query: &str, found: &mut dyn FnMut(Value)) -> Result<Shortfall, Error> {
    let mut shortfall = Shortfall::default();
    let axis = Axis::of(query);
    // Later parts at the bottom, so that they come in order.
    let mut parts: Vec<Option<Part>> = vec![None];
    let mut parts_max = PARTS_MAX;
    while let Some(part) = parts.pop() {
        let text = part.map_or_else(|| query.to_owned(), |part| format!("{query} {}", part.qualifier()));
        let url = client.url(&["search", "repositories"], &[("q", &text), ("per_page", "100")]);
        let first = page(client, &url)?;
        shortfall.parts += 1;
        if part.is_none() {
            parts_max = PARTS_MAX.min((first.value.total_count / RESULTS_MAX + 1).saturating_mul(PARTS_EACH_MAX));
        } else if shortfall.parts > parts_max {
            // Its parts are more than the whole.
            return Err(Error::Garbage { url: url.to_string(), reason: "the search has no end".to_owned() });
        }
        let halves = match part {
            _ if first.value.total_count <= RESULTS_MAX => None,
            None => axis.and_then(|axis| axis.whole().halves()),
            Some(part) => part.halves(),
        };
        match halves {
            Some([earlier, later]) => parts.extend([Some(later), Some(earlier)]),
            None => pages(client, first, &mut shortfall, found)?,
        }
    }
    Ok(shortfall)
}

fn page(client: &mut Client<'_>, url: &Url) -> Result<Page<Results>, Error> {
    let mut page: Page<Results> = client.get(url, Known::MayServe)?;
    for _ in 0..RETRIES {
        if !page.value.incomplete_results {
            break;
        }
        page = client.get(url, Known::IsDoubted)?;
    }
    Ok(page)
}

/// The pages of a part that is not cut any more.
fn pages(
    client: &mut Client<'_>,
    first: Page<Results>,
    shortfall: &mut Shortfall,
    found: &mut dyn FnMut(Value),
) -> Result<(), Error> {
    let total = first.value.total_count;
    let (mut ids, mut is_incomplete, mut left) = (HashSet::new(), false, RESULTS_MAX);
    let mut unreadable = 0;
    let mut next = Some(first);
    while let Some(Page { value, next: following }) = next {
        is_incomplete |= value.incomplete_results;
        for item in value.items {
            match item.get("id").and_then(Value::as_u64) {
                // Results move between pages while they are read.
                Some(id) if !ids.insert(id) => continue,
                Some(_) => {}
                None => unreadable += 1,
            }
            found(item);
        }
        // No more than GitHub ever gives, whatever the server says.
        left = left.saturating_sub(100);
        next = match following {
            Some(url) if left > 0 => Some(page(client, &url)?),
            _ => None,
        };
    }
    shortfall.incomplete += u64::from(is_incomplete);
    shortfall.missing += total.saturating_sub(ids.len() as u64 + unreadable);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_cut_by_what_it_does_not_speak_of() {
        for (query, axis) in [
            ("language:rust", Some(Axis::Created)),
            ("created:>2020-01-01", Some(Axis::Stars)),
            ("-created:2020-01-01 topic:x", Some(Axis::Stars)),
            ("CREATED:2020 Stars:>5", None),
            ("\"a created:x\" y", Some(Axis::Created)),
            ("created stars", Some(Axis::Created)),
        ] {
            assert_eq!(Axis::of(query), axis, "{query}");
        }
    }

    #[test]
    fn halves_touch_and_end_at_single_values() {
        for axis in [Axis::Created, Axis::Stars] {
            let mut part = axis.whole();
            let mut cuts = 0;
            while let Some([earlier, later]) = part.halves() {
                assert_eq!((earlier.from, earlier.to + 1, later.to), (part.from, later.from, part.to));
                part = if cuts % 2 == 0 { later } else { earlier };
                cuts += 1;
            }
            assert_eq!((part.from, cuts), (part.to, if axis == Axis::Stars { 22 } else { 30 }));
        }
        assert_eq!(Axis::Created.whole().qualifier(), "created:2007-10-01T00:00:00Z..2041-10-09T13:37:03Z");
        assert_eq!(Part { axis: Axis::Stars, from: 5, to: 9 }.qualifier(), "stars:5..9");
    }
}
