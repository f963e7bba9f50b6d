//! `console`: shows events to a person, or passes them to the next program of a pipe.
//!
//! What it promises:
//! 1. One line an event. `pretty` is for people: control characters and what turns the direction of writing are
//!    shown as escapes, so that a text of the agent cannot drive the terminal. `json` is for programs: each line
//!    is the very JSON that `POST /v1/events` takes.
//! 2. Whoever reads slowly holds the events back, and nothing is dropped: clients are told 429 meanwhile.
//! 3. A console keeps nothing. Where nobody reads it any more (a closed pipe) or it cannot be written (a full
//!    disk behind `>`), that is said once, and what comes is confirmed and counted as discarded: the process and
//!    its other sinks go on. It is tried again with each write, and a line that was cut short is ended first.
//!
//! Writing blocks, so it is done on a thread of its own.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use async_trait::async_trait;
use engine::metrics::IntCounter;
use engine::plugin::AnySink;
use engine::{Batch, BuildContext, Event, Holds, OpenError, Problems, Sink, SinkConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::text::{Style, moment};

/// How much of a text is shown, in characters.
const SHOWN: usize = 100;

/// As much is written at once.
const CHUNK: usize = 64 * 1024;

/// How long a target that does not wait is left alone when it takes no more.
const AGAIN: Duration = Duration::from_millis(20);

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A line for people, as `tail` has it.
    Pretty,
    /// The JSON that `POST /v1/events` takes.
    Json,
}

/// Where events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error, among the log lines.
    Stderr,
}

impl Target {
    /// Without the buffer of the standard library, which would not tell how much was written.
    fn file(self) -> io::Result<File> {
        let own = match self {
            Self::Stdout => io::stdout().as_fd().try_clone_to_owned(),
            Self::Stderr => io::stderr().as_fd().try_clone_to_owned(),
        };
        own.map(File::from)
    }
}

/// Shows events on standard output or standard error.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// `pretty`: a line for people; `json`: NDJSON, each line the JSON that `/v1/events` takes.
    pub format: Format,
    /// `stdout` or `stderr`.
    pub target: Target,
}

impl Default for Console {
    fn default() -> Self {
        Self { format: Format::Pretty, target: Target::Stdout }
    }
}

impl SinkConfig for Console {
    const TYPE: &'static str = "console";

    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        let counter = |name: &str, help: &str| cx.metrics.counter(&cx.name, name, help);
        let shown = counter("console_events_shown_total", "Events written to the console.");
        let discarded =
            counter("console_events_discarded_total", "Events that nobody reads, or that could not be written.");
        Ok(AnySink::Stream(Box::new(Shown { name: cx.name.clone(), config: self, shown, discarded, thread: None })))
    }
}

/// Batches to write, and who waits for that.
type Command = (Vec<Batch>, oneshot::Sender<()>);

struct Shown {
    name: String,
    config: Console,
    shown: IntCounter,
    discarded: IntCounter,
    thread: Option<Sender<Command>>,
}

#[async_trait]
impl Sink for Shown {
    fn holds(&self) -> Holds {
        Holds::Only(vec![format!("{:?}", self.config.target)])
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        let target = self.config.target;
        let cannot = |what, error| OpenError(format!("cannot {what} of sinks.{}: {error}", self.name));
        let mut file = target.file().map_err(|error| cannot("open the target", error))?;
        let mut writer = Writer {
            name: self.name.clone(),
            format: self.config.format,
            style: Style::of(&file),
            shown: self.shown.clone(),
            discarded: self.discarded.clone(),
            text: Vec::new(),
            torn: false,
            failing: false,
        };
        let (commands, receiver): (_, Receiver<Command>) = mpsc::channel();
        std::thread::Builder::new()
            .name("console".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || {
                while let Ok((batches, done)) = receiver.recv() {
                    // No log line in the middle of an event's.
                    let held = (target == Target::Stderr).then(|| io::stderr().lock());
                    writer.write(batches, &mut file);
                    drop(held);
                    // The sink may have been cut short by the drain's end; the batches are answered.
                    let _ = done.send(());
                }
            })
            .map_err(|error| cannot("start the thread", error))?;
        self.thread = Some(commands);
        Ok(())
    }

    async fn write(&mut self, batches: Vec<Batch>) {
        let Some(thread) = &self.thread else { return };
        let (done, written) = oneshot::channel();
        // Where the thread is gone the batches are dropped with the command, which fails them.
        if thread.send((batches, done)).is_ok() {
            let _ = written.await;
        }
    }
}

/// What the thread writes with.
struct Writer {
    name: String,
    format: Format,
    style: Style,
    shown: IntCounter,
    discarded: IntCounter,
    /// Lines that are not written yet.
    text: Vec<u8>,
    /// A line may stand there without its end.
    torn: bool,
    /// The last write failed, and that was said.
    failing: bool,
}

impl Writer {
    fn write(&mut self, batches: Vec<Batch>, target: &mut dyn Write) {
        let mut waiting = 0;
        for event in batches.iter().flat_map(Batch::iter) {
            self.add(event);
            waiting += 1;
            if self.text.len() >= CHUNK {
                self.flush(waiting, target);
                waiting = 0;
            }
        }
        self.flush(waiting, target);
        for batch in batches {
            batch.confirm(0);
        }
    }

    fn add(&mut self, event: &Event) {
        match self.format {
            Format::Json => self.text.extend_from_slice(event.to_json().as_bytes()),
            Format::Pretty => {
                let at = self.style.faint(&moment(event.timestamp));
                let line = crate::describe(event, SHOWN, self.style);
                self.text.extend_from_slice(format!("{at}  {line}").as_bytes());
            }
        }
        self.text.push(b'\n');
    }

    /// Writes what is there: so many events.
    fn flush(&mut self, events: u64, target: &mut dyn Write) {
        let mut text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return;
        }
        if self.torn {
            text.insert(0, b'\n');
        }
        match write_all(target, &text) {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::warn!(component = self.name, "the console can be written again");
                }
                self.torn = false;
                self.shown.inc_by(events);
            }
            Err((written, error)) => {
                self.torn = if written == 0 { self.torn } else { text[written - 1] != b'\n' };
                self.discarded.inc_by(events);
                if !std::mem::replace(&mut self.failing, true) {
                    let why = match error.kind() {
                        io::ErrorKind::BrokenPipe => "nobody reads it any more".to_owned(),
                        _ => error.to_string(),
                    };
                    tracing::warn!(
                        component = self.name,
                        why,
                        "the console cannot be written; events are discarded (said once)"
                    );
                }
            }
        }
        text.clear();
        text.shrink_to(2 * CHUNK);
        self.text = text;
    }
}

/// Writes all of it; an error comes with how much was written before.
fn write_all(target: &mut dyn Write, text: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < text.len() {
        match target.write(&text[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Who shares it may have made it so that it does not wait.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use engine::{Admission, Json, Kind, Outcome};

    use super::*;

    /// A target that takes so many bytes and then fails, until it is mended.
    #[derive(Default)]
    struct Failing {
        written: Vec<u8>,
        room: Option<usize>,
    }

    impl Write for Failing {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let room = self.room.unwrap_or(usize::MAX);
            if room == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let size = text.len().min(room);
            self.written.extend_from_slice(&text[..size]);
            self.room = self.room.map(|room| room - size);
            Ok(size)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer(format: Format) -> Writer {
        let metrics = engine::metrics::Metrics::default();
        Writer {
            name: "console".to_owned(),
            format,
            style: Style::plain(),
            shown: metrics.counter("console", "shown", "shown"),
            discarded: metrics.counter("console", "discarded", "discarded"),
            text: Vec::new(),
            torn: false,
            failing: false,
        }
    }

    /// Writes one event, and answers what became of its batch.
    async fn show(writer: &mut Writer, event: Event, target: &mut Failing) -> Outcome {
        let credits = Admission::new(10, 1 << 20).try_acquire(1, 1).unwrap();
        let (batch, mut receipt) = Batch::new(vec![event], credits, false);
        writer.write(vec![batch], target);
        receipt.outcome().await
    }

    fn named(name: &str) -> Event {
        let mut event = Event::new(Kind::TOOL_CALL);
        event.timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        event.name = Some(name.to_owned());
        event
    }

    #[tokio::test]
    async fn an_event_is_one_line_in_which_hostile_text_is_text() {
        let mut event = named("rm\x1b[2J\u{202e}");
        event.output = Some(Json::from_value(&"two\nlines").unwrap());
        let (mut people, mut programs) = (Failing::default(), Failing::default());
        show(&mut writer(Format::Pretty), event.clone(), &mut people).await;
        let text = String::from_utf8(people.written).unwrap();
        assert_eq!(text, "2026-11-25 12:00:00  tool_call rm\\u{1b}[2J\\u{202e}  \"two\\nlines\"\n");
        show(&mut writer(Format::Json), event.clone(), &mut programs).await;
        assert_eq!(String::from_utf8(programs.written).unwrap(), event.to_json() + "\n");
    }

    #[tokio::test]
    async fn what_nobody_reads_is_confirmed_and_counted_and_a_torn_line_is_ended() {
        let mut writer = writer(Format::Pretty);
        let mut target = Failing { room: Some(10), ..Failing::default() };
        let stored = Outcome::Stored { duplicates: 0 };
        assert_eq!(show(&mut writer, named("a"), &mut target).await, stored);
        assert_eq!(show(&mut writer, named("b"), &mut target).await, stored);
        assert_eq!((writer.shown.get(), writer.discarded.get()), (0, 2));
        target.room = None;
        assert_eq!(show(&mut writer, named("c"), &mut target).await, stored);
        assert_eq!((writer.shown.get(), writer.discarded.get()), (1, 2));
        let text = String::from_utf8(target.written).unwrap();
        assert_eq!(text, "2026-11-25\n2026-11-25 12:00:00  tool_call c\n");
    }
}
