/// One event of `/v1/events`.
pub fn event(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match engine::Event::from_json(text) {
        Ok(event) => {
            // Bounded by what was sent, or admission would count too little.
            assert!(event.size_bytes() <= 2048 + 2 * text.len(), "{} bytes of {}", event.size_bytes(), text.len());
            crate::assert_round_trip(&event);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
