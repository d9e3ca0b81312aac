//! The parameters of a request: the part of its URL after `?`.
//!
//! Unknown parameters are refused rather than ignored: a misspelt `scpoe=US` must not look like the
//! global chart.

use super::problem::Problem;

/// The most bytes of this part.
pub const QUERY_BYTES_MAX: usize = 4096;

/// The values of the parameters `names`, in this order. An empty parameter (`scope=`) counts as
/// absent.
///
/// # Errors
/// Bad request, if a parameter is not in `names` or is given twice.
pub fn parameters<const N: usize>(query: Option<&str>, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let Some(index) = names.iter().position(|known| *known == name) else {
            let possible = if N == 0 { "there are none here".to_owned() } else { names.join(", ") };
            return Err(Problem::bad_request(format!("unknown parameter `{name}`; possible: {possible}")));
        };
        if values[index].is_some() {
            return Err(Problem::bad_request(format!("`{name}` is given twice")));
        }
        values[index] = Some(value.into_owned());
    }
    Ok(values.map(|value| value.filter(|value| !value.is_empty())))
}

/// Reads the parameter `name`, which is `true` or `false`, such as `durable`; false if it is
/// absent.
///
/// # Errors
/// Bad request, if it is any other text.
pub fn flag(name: &str, text: Option<String>) -> Result<bool, Problem> {
    match text.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(text) => Err(Problem::bad_request(format!("`{name}` is `{text}`, but must be `true` or `false`"))),
    }
}

/// Reads the parameter `limit`; none if it is absent.
///
/// # Errors
/// Bad request, if it is not a whole number from 1.
pub fn count(limit: Option<String>) -> Result<Option<usize>, Problem> {
    let Some(text) = limit else { return Ok(None) };
    let count = text.parse().ok().filter(|count| *count > 0);
    let problem = || Problem::bad_request(format!("`limit` is `{text}`, but must be a whole number from 1"));
    count.map(Some).ok_or_else(problem)
}
