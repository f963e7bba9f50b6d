// Mistakes that the model must catch, each made in a copy of the real code. `tests/model.rs` says
// which promise each of them breaks.

struct Mistake {
    name: &'static str,
    file: &'static str,
    /// What stands there once, and what takes its place.
    changes: &'static [(&'static str, &'static str)],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "credits_return_early",
        file: "batch.rs",
        changes: &[
            ("    credits: Option<Credits>,", "    credits: Option<()>,"),
            ("keep, credits: Some(credits) }", "keep, credits: Some(drop(credits)) }"),
        ],
    },
    Mistake {
        name: "first_sink_resolves",
        file: "batch.rs",
        changes: &[(
            "        state.duplicates = state.duplicates.max(total);",
            "        state.duplicates = state.duplicates.max(total);
        if let Some(report) = state.report.take() {
            let _ = report.send(Outcome::Stored { duplicates: total });
        }",
        )],
    },
    Mistake {
        name: "dropped_counts_as_stored",
        file: "batch.rs",
        changes: &[("        if !self.confirmed {", "        if false {")],
    },
    Mistake {
        name: "wake_is_lost",
        file: "admission.rs",
        changes: &[
            (
                "            let returned = self.0.returned.notified();
            tokio::pin!(returned);
            // Registered before the attempt, so that a return between the two is not missed.
            returned.as_mut().enable();
",
                "",
            ),
            ("            returned.await;", "            self.0.returned.notified().await;"),
        ],
    },
    Mistake {
        name: "dedupe_remembers_too_early",
        file: "dedupe.rs",
        changes: &[(
            "        let shared = Arc::clone(&self.shared);
        batch.on_outcome(move |outcome| {
            if matches!(outcome, Outcome::Stored { .. }) {
                let now = (shared.clock)();
                let mut seen = shared.lock();
                // Stored, and lost with its file since: not safe.
                if seen.losses.count() == lost {
                    seen.remember(new, now);
                }
            }
        });",
            "        let now = (self.shared.clock)();
        let _ = lost;
        self.shared.lock().remember(new, now);",
        )],
    },
    Mistake {
        name: "dedupe_remembers_what_failed",
        file: "dedupe.rs",
        changes: &[(
            "            if matches!(outcome, Outcome::Stored { .. }) {",
            "            if matches!(outcome, _) {",
        )],
    },
    Mistake {
        name: "drain_leaves_the_queue",
        file: "runtime/queue.rs",
        changes: &[(
            "    while let Some(first) = queue.recv().await {",
            "    while let Some(first) = queue.recv().await.filter(|_| !queue.is_closed()) {",
        )],
    },
    Mistake {
        name: "queue_is_too_short",
        file: "runtime/queue.rs",
        changes: &[("mpsc::channel(MOST_BATCHES)", "mpsc::channel(1)")],
    },
    Mistake {
        name: "drain_does_not_count",
        file: "runtime/mod.rs",
        changes: &[("        if problems.is_empty() { Ok(()) }", "        if true { Ok(()) }")],
    },
    Mistake {
        name: "reload_does_not_hold",
        file: "runtime/exchange.rs",
        changes: &[("        before.iter().for_each(|wiring| wiring.hold());\n", "")],
    },
];
