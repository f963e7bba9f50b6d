//! `${VAR}` and `${VAR:-default}` in the strings of a file; `\$` is a dollar sign.
//!
//! A variable's value becomes part of the string and nothing more: it cannot add keys or tables.

/// Replaces the variables in `text`. `\$` can be written in TOML's literal strings ('…') as it is,
/// and as `\\$` in the others.
///
/// # Errors
/// What is wrong with the text, or which variable is not set.
pub(super) fn expand(text: &str, env: &[(String, String)]) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('\\') {
            out.push_str(before);
            out.push('$');
            rest = &from[1..];
            continue;
        }
        out.push_str(before);
        let Some(inside) = from.strip_prefix("${") else {
            out.push('$');
            rest = &from[1..];
            continue;
        };
        let Some(end) = inside.find('}') else {
            return Err("${ is not closed by }; write \\$ for a dollar sign".to_owned());
        };
        let (name, default) = match inside[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inside[..end], None),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("${{{name}}} is not a variable's name; write \\$ for a dollar sign"));
        }
        let value = env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (value.filter(|value| !value.is_empty() || default.is_none()), default) {
            (Some(value), _) | (None, Some(value)) => out.push_str(value),
            (None, None) => {
                return Err(format!("the variable {name} is not set; set it, or give a default: ${{{name}:-default}}"));
            }
        }
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn env() -> Vec<(String, String)> {
        [("A", "x"), ("EMPTY", ""), ("SLY", "${A}\"]")].map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec()
    }

    #[test]
    fn variables_defaults_and_dollars() {
        let cases = [
            ("${A}", "x"),
            ("a${A}b${A}", "axbx"),
            ("${B:-y}", "y"),
            ("${EMPTY:-y}", "y"),
            ("${EMPTY}", ""),
            (r"\${A}", "${A}"),
            ("5$ and $A", "5$ and $A"),
            // A value is not looked into again.
            ("${SLY}", "${A}\"]"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &env()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_said() {
        assert!(expand("${B}", &env()).is_err_and(|e| e.contains("B is not set")));
        assert!(expand("${A", &env()).is_err_and(|e| e.contains("not closed")));
        assert!(expand("${a b}", &env()).is_err());
    }
}
