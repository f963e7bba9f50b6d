//! Personal data, checked by more than its looks: check digits where there are any.

/// Whether digits (with spaces or dashes) are a payment card's number: a known issuer's prefix and
/// length, and Luhn's check digit.
pub(super) fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let number = |n: usize| digits.iter().take(n).fold(0, |sum, d| sum * 10 + d);
    let issued = match digits.len() {
        13 | 19 if digits[0] == 4 => true,
        14 => matches!(number(2), 36 | 38 | 39) || matches!(number(3), 300..=305),
        15 => matches!(number(2), 34 | 37),
        16 => {
            digits[0] == 4
                || matches!(number(2), 51..=55 | 62 | 65)
                || matches!(number(4), 2221..=2720 | 3528..=3589 | 6011)
                || matches!(number(3), 644..=649)
        }
        17..=19 => number(2) == 62,
        _ => false,
    };
    issued && luhn(&digits)
}

fn luhn(digits: &[u32]) -> bool {
    let doubled = |(at, d): (usize, &u32)| if at % 2 == 1 { d * 2 - 9 * u32::from(*d > 4) } else { *d };
    digits.iter().rev().enumerate().map(doubled).sum::<u32>() % 10 == 0
}

/// Whether the text is an IBAN: ISO 7064 mod 97 over the rearranged number is 1.
pub(super) fn is_iban(text: &str) -> bool {
    let plain: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !(15..=34).contains(&plain.len()) {
        return false;
    }
    let value = |c: &char| c.to_digit(36).unwrap_or(0);
    let rest = plain[4..]
        .iter()
        .chain(&plain[..4])
        .map(value)
        .fold(0u32, |rest, v| (if v > 9 { rest * 100 + v } else { rest * 10 + v }) % 97);
    rest == 1
}

/// Whether the text has as many digits as a telephone number (E.164: at most 15).
pub(super) fn is_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    (8..=15).contains(&digits)
}

/// Whether the text is an IP address that says something of a person: not loopback, not unspecified.
pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Whether the text is an e-mail address of a person, not the user part of a git remote.
pub(super) fn is_email(text: &str) -> bool {
    !text.starts_with("git@") && !text.ends_with(".png") && !text.ends_with(".js")
}
