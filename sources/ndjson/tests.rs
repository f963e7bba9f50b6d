use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// Gives so many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let size = self.0.len().min(self.1).min(out.len());
        out[..size].copy_from_slice(&self.0[..size]);
        self.0 = &self.0[size..];
        Ok(size)
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

/// Each line with its place and its bytes; nothing of a line that is too long.
fn read(packed: &[u8], piece: usize, max: usize) -> io::Result<Vec<(Place, Vec<u8>)>> {
    let mut lines = Lines::new(Pieces(packed, piece), max);
    let mut all = Vec::new();
    while lines.advance()? {
        all.push((lines.place(), lines.line.clone()));
    }
    if lines.finish() {
        all.push((lines.place(), lines.line.clone()));
    }
    Ok(all)
}

/// What `read` should say.
fn expected(text: &[u8], max: usize) -> Vec<(Place, Vec<u8>)> {
    let mut place = Place::START;
    let mut all = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bytes = line.strip_suffix(b"\n").unwrap_or(line);
        all.push((place, if bytes.len() > max { Vec::new() } else { bytes.to_vec() }));
        place = Place { offset: place.offset + line.len() as u64, number: place.number + 1 };
    }
    all
}

proptest! {
    #[test]
    fn lines_are_the_same_however_they_come_and_are_packed(
        text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300), piece in 1usize..50,
    ) {
        // What begins like a packed text is one.
        prop_assume!(Packing::of(&text) == Some(Packing::Plain));
        let lines = expected(&text, 40);
        prop_assert_eq!(&read(&text, piece, 40).unwrap(), &lines);
        prop_assert_eq!(&read(&gzip(&text), piece, 40).unwrap(), &lines);
        prop_assert_eq!(&read(&zstd(&text), piece, 40).unwrap(), &lines);
        // Several members and frames are one text, as `cat` makes it.
        let (a, b) = text.split_at(text.len() / 2);
        prop_assert_eq!(&read(&[gzip(a), gzip(b)].concat(), piece, 40).unwrap(), &lines);
        prop_assert_eq!(&read(&[zstd(a), zstd(b)].concat(), piece, 40).unwrap(), &lines);
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
        let _ = read(&bytes, 7, 40);
        for packed in [gzip(&bytes), zstd(&bytes)] {
            let _ = read(&packed[..cut.min(packed.len())], 7, 40);
            let mut spoiled = packed.clone();
            spoiled[cut % packed.len()] ^= 0x41;
            let _ = read(&spoiled, 7, 40);
        }
    }
}

#[test]
fn a_packed_text_that_ends_in_the_middle_says_so_after_what_was_whole() {
    let text = b"{\"kind\":\"log\"}\n".repeat(20_000);
    for packed in [gzip(&text), zstd(&text)] {
        let mut lines = Lines::new(&packed[..packed.len() - 5], 100);
        let mut count = 0;
        let error = loop {
            match lines.advance() {
                Ok(true) => count += 1,
                Ok(false) => panic!("read as whole"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("ends in the middle"), "{error}");
        assert!(count > 0, "what was whole is read");
    }
}

#[test]
fn a_text_that_grows_is_read_on() {
    struct Grows(std::rc::Rc<std::cell::RefCell<Vec<u8>>>, usize);
    impl Read for Grows {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let all = self.0.borrow();
            let size = (all.len() - self.1).min(out.len());
            out[..size].copy_from_slice(&all[self.1..][..size]);
            self.1 += size;
            Ok(size)
        }
    }
    let text = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut lines = Lines::new(Grows(text.clone(), 0), 100);
    assert!(!lines.advance().unwrap());
    // The first byte of a zstd frame, and of a text too.
    text.borrow_mut().extend_from_slice(b"(");
    assert!(!lines.advance().unwrap() && !lines.advance().unwrap());
    assert_eq!(lines.read_to(), 0);
    text.borrow_mut().extend_from_slice(b"a)\nb");
    assert!(lines.advance().unwrap());
    assert_eq!(lines.line, b"(a)");
    assert!(!lines.advance().unwrap());
    assert_eq!((lines.place(), lines.read_to()), (Place { offset: 4, number: 2 }, 5));
    text.borrow_mut().extend_from_slice(b"c\n");
    assert!(lines.advance().unwrap());
    assert_eq!(lines.line, b"bc");
    text.borrow_mut().extend_from_slice(b"(");
    assert!(!lines.advance().unwrap() && lines.finish());
    assert_eq!((lines.line.as_slice(), lines.place().number), (&b"("[..], 3));
    assert!(!lines.finish());
}

#[test]
fn a_line_of_any_length_takes_bounded_memory_and_is_told() {
    let mut text = b"x".repeat(10 << 20);
    text.extend_from_slice(b"\n{\"kind\":\"log\"}\n");
    let mut lines = Lines::new(text.as_slice(), 4096);
    assert!(lines.advance().unwrap());
    assert!(lines.line.capacity() <= CHUNK && lines.first.capacity() <= 2 * Beginning::BYTES);
    assert_eq!(lines.event(None).unwrap_err(), "the line is 10485760 bytes long; the most is 4096");
    assert!(lines.advance().unwrap());
    assert!(lines.event(None).unwrap().is_some());
}

#[test]
fn the_same_line_at_the_same_place_is_the_same_event_and_a_named_one_keeps_its_name() {
    let ids = |text: &[u8], salt: Option<&[u8]>| {
        let mut lines = Lines::new(text, 1000);
        let mut ids = Vec::new();
        while lines.advance().unwrap() {
            ids.extend(lines.event(salt).unwrap().map(|event| event.trace_id));
        }
        ids
    };
    let text = b"{\"kind\":\"log\"}\r\n\n{\"kind\":\"log\"}\n";
    let derived = ids(text, Some(b""));
    assert_eq!(derived.len(), 2);
    assert_ne!(derived[0], derived[1], "two lines of one text are two events");
    assert_eq!(derived, ids(text, Some(b"")));
    assert_eq!(derived, ids(&gzip(text), Some(b"")), "packed, it is the same text");
    assert_ne!(derived, ids(text, Some(b"another file")));
    assert_ne!(ids(text, None), ids(text, None), "what cannot be read again has nothing to be known by");
    let named = "0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3";
    let text = format!("\u{feff}{{\"kind\":\"log\",\"trace_id\":\"{named}\"}}\n");
    assert_eq!(ids(text.as_bytes(), Some(b""))[0].to_string(), named);
}

#[test]
fn what_is_wrong_with_a_line_is_said_without_its_values() {
    let wrong = |text: &[u8]| {
        let mut lines = Lines::new(text, 1000);
        assert!(lines.advance().unwrap());
        lines.event(None).unwrap_err()
    };
    assert_eq!(wrong(b"{\"kind\":7}\n"), "kind must be a string, not a number");
    assert_eq!(wrong(b"\"hunter2\"\n"), "event must be a JSON object");
    assert_eq!(wrong(b"{\"kind\":\"\xff\"}\n"), "not UTF-8 at byte 9 of the line");
    assert_eq!(wrong(b"{\"kind\":\n"), "EOF while parsing a value at column 8");
}

#[test]
fn a_text_is_known_by_its_first_line() {
    let known = |text: &[u8]| beginning(text, false).unwrap();
    assert_eq!(known(b"a"), None, "it may grow");
    assert_eq!(beginning(&b"a"[..], true).unwrap(), known(b"a\n"));
    assert_eq!(known(b"a\nb"), known(b"a\nc"));
    assert_eq!(known(b"a\nb"), known(&gzip(b"a\nb")));
    assert_ne!(known(b"a\n"), known(b"b\n"));
    let mut lines = Lines::new(&b"a\nb"[..], 10);
    assert!(lines.advance().unwrap());
    assert_eq!(lines.beginning(), known(b"a\nb").as_ref());
    let long = [b"x".repeat(3000), b"\n".to_vec()].concat();
    let mut lines = Lines::new(long.as_slice(), 10);
    assert!(lines.advance().unwrap());
    assert_eq!(lines.beginning(), known(&long).as_ref());
}
