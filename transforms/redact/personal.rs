//! Personal data, known by checksums and strict forms: e-mail, card (Luhn), IBAN (mod 97), telephone;
//! IP addresses where they are asked for. And Discord's bot tokens, which are found by the same walk
//! because they have no literal to search for.
//!
//! One walk over the bytes; what is looked at from each place is bounded.

use super::structure::Range;

/// What the walk found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Email,
    Card,
    Iban,
    Phone,
    Ip,
    DiscordToken,
}

/// Walks the text and reports each find. `numbers_are_phones`: the text is known to be about
/// telephones (an id of a WhatsApp chat), so a bare number is one.
pub(super) fn walk(text: &[u8], numbers_are_phones: bool, mut found: impl FnMut(Kind, Range)) {
    let mut at = 0;
    while at < text.len() {
        let b = text[at];
        let starts_word = at == 0 || !text[at - 1].is_ascii_alphanumeric();
        match b {
            b'@' => {
                if let Some(range) = email(text, at) {
                    found(Kind::Email, range);
                }
            }
            b'.' if text.get(at + 7) == Some(&b'.') => {
                if let Some(range) = discord(text, at) {
                    found(Kind::DiscordToken, range);
                }
            }
            b'0'..=b'9' | b'+' | b'(' if starts_word => {
                if b.is_ascii_digit()
                    && let Some(end) = ipv4(text, at)
                {
                    found(Kind::Ip, (at, end));
                    at = end;
                    continue;
                }
                let number = Number::read(text, at);
                if let Some((kind, end)) = number.kind(text, numbers_are_phones) {
                    found(kind, (at, end));
                    at = end;
                    continue;
                }
                if b.is_ascii_digit() {
                    // The rest of this group of digits starts nothing.
                    at += text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                    continue;
                }
            }
            b'A'..=b'Z' if starts_word => {
                if let Some(end) = iban(text, at) {
                    found(Kind::Iban, (at, end));
                    at = end;
                    continue;
                }
            }
            b':' => {
                if let Some(range) = ipv6(text, at) {
                    found(Kind::Ip, range);
                    at = range.1;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// `local@domain.tld`, around the `@`. Not the user of `git@host:…`, nor what stands between `://` and
/// `@`, which is another rule's.
fn email(text: &[u8], at: usize) -> Option<Range> {
    let is_local = |b: &u8| b.is_ascii_alphanumeric() || b"._%+-".contains(b) || *b >= 0x80;
    let local = text[..at].iter().rev().take(64).take_while(|b| is_local(b)).count();
    let mut start = at - local;
    while start < at && b".%+-".contains(&text[start]) {
        start += 1;
    }
    if start == at || &text[start..at] == b"git" {
        return None;
    }
    let is_domain = |b: &u8| b.is_ascii_alphanumeric() || b".-".contains(b) || *b >= 0x80;
    let mut end = at + 1 + text[at + 1..].iter().take(253).take_while(|b| is_domain(b)).count();
    while end > at + 1 && b".-".contains(&text[end - 1]) {
        end -= 1;
    }
    let domain = &text[at + 1..end];
    let dot = domain.iter().rposition(|b| *b == b'.')?;
    let top = &domain[dot + 1..];
    let is_top = top.len() >= 2 && top.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80 || *b == b'-');
    const FILES: [&str; 12] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "js", "ts", "css", "json", "md", "html"];
    let is_file = FILES.iter().any(|file| top.eq_ignore_ascii_case(file.as_bytes()));
    if dot == 0 || !is_top || is_file {
        return None;
    }
    let before = &text[start.saturating_sub(160)..start];
    let authority = before.windows(3).rposition(|window| window == b"://").map(|place| &before[place + 3..]);
    let in_address =
        authority.is_some_and(|between| !between.iter().any(|b| b.is_ascii_whitespace() || b"/?\"'<>,;".contains(b)));
    (!in_address).then_some((start, end))
}

/// `MTk4N….Gabcde.…`: base64 of the bot's number, six letters, and a signature.
fn discord(text: &[u8], dot: usize) -> Option<Range> {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let first = text[..dot].iter().rev().take(32).take_while(|b| is_part(b)).count();
    let start = dot - first;
    if !(22..=30).contains(&first) || !matches!(text[start], b'M' | b'N' | b'O') {
        return None;
    }
    if !text[dot + 1..dot + 7].iter().all(|b| is_part(b)) {
        return None;
    }
    let last = text[dot + 8..].iter().take(64).take_while(|b| is_part(b)).count();
    (25..=48).contains(&last).then_some((start, dot + 8 + last))
}

/// Digits in groups, as people write numbers.
struct Number {
    start: usize,
    plus: bool,
    digits: Vec<u8>,
    /// After so many digits the number could end here, in the text.
    ends: Vec<(usize, usize)>,
    separators: Vec<u8>,
}

impl Number {
    fn read(text: &[u8], start: usize) -> Self {
        let plus = text[start] == b'+';
        let mut number = Self { start, plus, digits: Vec::new(), ends: Vec::new(), separators: Vec::new() };
        let mut at = start + usize::from(plus);
        while at < text.len() && number.digits.len() < 24 {
            if text[at].is_ascii_digit() {
                number.digits.push(text[at]);
                at += 1;
                continue;
            }
            if number.digits.last().is_some()
                && number.ends.last().is_none_or(|(count, _)| *count < number.digits.len())
            {
                number.ends.push((number.digits.len(), at));
            }
            let separators = text[at..].iter().take(2).take_while(|b| b" -.()".contains(b)).count();
            let next = at + separators;
            // A group follows, or the number is over. A bracket may open it.
            let goes_on = separators > 0 && text.get(next).is_some_and(u8::is_ascii_digit);
            if !goes_on {
                break;
            }
            number.separators.extend_from_slice(&text[at..next]);
            at = next;
        }
        if number.digits.len() < 24 && at == text.len() && text[at - 1].is_ascii_digit() {
            number.ends.push((number.digits.len(), at));
        }
        number
    }

    fn kind(&self, text: &[u8], numbers_are_phones: bool) -> Option<(Kind, usize)> {
        if self.digits.len() < 7 {
            return None;
        }
        let ends_word = |end: usize| text.get(end).is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_');
        if !self.plus && text[self.start] != b'(' {
            let is_grouped = self.separators.iter().all(|b| b" -".contains(b));
            let card = self
                .ends
                .iter()
                .rev()
                .find(|(count, end)| is_grouped && ends_word(*end) && is_card(&self.digits[..*count]));
            if let Some((_, end)) = card {
                return Some((Kind::Card, *end));
            }
        }
        let (count, end) = *self.ends.iter().rev().find(|(count, end)| *count <= 15 && ends_word(*end))?;
        let is_international = self.plus
            && count >= 8
            && self.digits[0] != b'0'
            // A coordinate has a sign and a decimal point.
            && self.separators != [b'.'];
        let bare = numbers_are_phones && (8..=15).contains(&count) && self.separators.is_empty();
        (is_international || bare || self.is_north_american(text, count, end)).then_some((Kind::Phone, end))
    }

    /// `555-123-4567`, `(555) 123-4567`, `1-555-123-4567`.
    fn is_north_american(&self, text: &[u8], count: usize, end: usize) -> bool {
        let country = usize::from(count == 11 && self.digits[0] == b'1');
        let local = &self.digits[country..count];
        let before = self.start.checked_sub(1).map(|before| text[before]);
        let is_part = |b: Option<u8>| b.is_some_and(|b| b"-./_:".contains(&b));
        let groups: Vec<usize> = self.ends.iter().map(|(count, _)| *count).collect();
        local.len() == 10
            && groups.ends_with(&[country + 3, country + 6, country + 10])
            && local[0] >= b'2'
            && local[3] >= b'2'
            && self.separators.iter().any(|b| b"-.(".contains(b) || text[self.start] == b'(')
            && !is_part(before)
            && !text.get(end).is_some_and(|b| b"-/_".contains(b))
    }
}

/// A number of a card scheme's range and length that satisfies Luhn's check.
fn is_card(digits: &[u8]) -> bool {
    let number = |count: usize| digits[..count].iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0'));
    if digits.len() < 13 {
        return false;
    }
    let (two, four) = (number(2), number(4));
    let fits = match digits.len() {
        14 => matches!(two, 36 | 38 | 39) || (300..=305).contains(&number(3)),
        15 => matches!(two, 34 | 37),
        16 => {
            digits[0] == b'4'
                || (51..=55).contains(&two)
                || (2221..=2720).contains(&four)
                || (3528..=3589).contains(&four)
                || matches!(two, 60 | 62 | 64 | 65)
        }
        19 => digits[0] == b'4' || matches!(two, 62),
        _ => false,
    };
    fits && digits.iter().any(|d| *d != digits[0]) && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0');
            let twice = digit * 2;
            if at % 2 == 0 {
                digit
            } else if twice > 9 {
                twice - 9
            } else {
                twice
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// For the tests that make card numbers.
#[cfg(test)]
pub(super) fn tests_luhn(digits: &str) -> bool {
    luhn(digits.as_bytes())
}

/// Country and length of its account numbers (the SWIFT registry).
const IBANS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27\
                     GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25\
                     MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25\
                     SV28TL23TN24TR26UA29VA22VG24XK20";

/// The end of the account number that starts here.
fn iban(text: &[u8], start: usize) -> Option<usize> {
    let head = text.get(start..start + 4)?;
    if !(head[1].is_ascii_uppercase() && head[2].is_ascii_digit() && head[3].is_ascii_digit()) {
        return None;
    }
    let country = IBANS.as_bytes().chunks(4).find(|country| country[..2] == head[..2])?;
    let length = usize::from(country[2] - b'0') * 10 + usize::from(country[3] - b'0');
    let mut number = Vec::with_capacity(length);
    let mut at = start;
    while number.len() < length {
        match text.get(at)? {
            b' ' | b'-' if !number.is_empty() && text[at - 1] != b' ' => {}
            b if b.is_ascii_digit() || b.is_ascii_uppercase() => number.push(*b),
            _ => return None,
        }
        at += 1;
    }
    if text.get(at).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    number.rotate_left(4);
    let rest = number.iter().fold(0u32, |rest, b| match b {
        b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
        _ => (rest * 100 + u32::from(b - b'A') + 10) % 97,
    });
    (rest == 1).then_some(at)
}

fn ipv4(text: &[u8], start: usize) -> Option<usize> {
    let run = text[start..].iter().take(16).take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let mut end = start + run;
    if text[end - 1] == b'.' {
        end -= 1;
    }
    if text.get(end).is_some_and(u8::is_ascii_alphanumeric) || (start > 0 && b"._-".contains(&text[start - 1])) {
        return None;
    }
    let address: std::net::Ipv4Addr = std::str::from_utf8(&text[start..end]).ok()?.parse().ok()?;
    (!address.is_loopback() && !address.is_unspecified()).then_some(end)
}

fn ipv6(text: &[u8], colon: usize) -> Option<Range> {
    let is_part = |b: &u8| b.is_ascii_hexdigit() || *b == b':';
    let before = text[..colon].iter().rev().take(5).take_while(|b| b.is_ascii_hexdigit()).count();
    let start = colon - before;
    if before > 4 || start.checked_sub(1).is_some_and(|at| text[at].is_ascii_alphanumeric() || text[at] == b':') {
        return None;
    }
    let run = text[start..].iter().take(40).take_while(|b| is_part(b)).count();
    let end = start + run;
    if run < 6 || text.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let address: std::net::Ipv6Addr = std::str::from_utf8(&text[start..end]).ok()?.parse().ok()?;
    (!address.is_loopback() && !address.is_unspecified()).then_some((start, end))
}

/// Whether it is a telephone number by itself, as the value of a field named `phone`.
pub(super) fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (7..=15).contains(&digits) && text.bytes().all(|b| b.is_ascii_digit() || b" +-.()/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Kind, String)> {
        let mut all = vec![];
        walk(text.as_bytes(), false, |kind, (start, end)| all.push((kind, text[start..end].to_owned())));
        all
    }

    fn one(kind: Kind, text: &str) -> Vec<(Kind, String)> {
        vec![(kind, text.to_owned())]
    }

    #[test]
    fn addresses_numbers_and_accounts_are_found() {
        assert_eq!(found("write to jo.do+x@mail.example.org."), one(Kind::Email, "jo.do+x@mail.example.org"));
        // The schemes' published test numbers.
        for card in ["4111111111111111", "5555-5555-5555-4444", "3782 822463 10005", "4111 1111 1111 1111"] {
            assert_eq!(found(&format!("card {card}, thanks")), one(Kind::Card, card));
        }
        assert_eq!(found("pay 4111 1111 1111 1111 123"), one(Kind::Card, "4111 1111 1111 1111"));
        for iban in ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32"] {
            assert_eq!(found(&format!("to {iban}.")), one(Kind::Iban, iban));
        }
        for phone in ["+15551234567", "+1 (555) 223-4567", "+49 30 901820", "(555) 223-4567", "555-223-4567"] {
            assert_eq!(found(&format!("call {phone} now")), one(Kind::Phone, phone));
        }
        assert_eq!(
            found("from 203.0.113.9 and 2001:db8::17"),
            [(Kind::Ip, "203.0.113.9".to_owned()), (Kind::Ip, "2001:db8::17".to_owned())]
        );
    }

    #[test]
    fn what_only_resembles_them_is_left_alone() {
        for text in [
            "git@github.com:a/b.git",
            "https://user@host.example/x",
            "4111111111111112",
            "1764000000123",
            "2026-11-24T12:00:00+0100",
            "v1.2.3-45",
            "icon@2x.png",
            "react@18.2.0",
            "+48.8588443, +2.2943506",
            "0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3",
            "DE00370400440532013000",
            "std::io::Error",
            "12:34:56",
            "127.0.0.1:9090",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
