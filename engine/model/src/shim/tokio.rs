//! tokio, as far as the engine uses it.

pub use ::tokio::pin;
pub use task::spawn;

/// Two branches or three; which one is looked at first is shuttle's choice, so that a schedule can be replayed.
macro_rules! select {
    ($a:pat = $one:expr => $then:expr, $b:pat = $two:expr => $or:expr, $c:pat = $three:expr => $last:expr $(,)?) => {
        match shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..3) {
            0 => ::tokio::select! { biased; $a = $one => { $then }, $b = $two => { $or }, $c = $three => { $last } },
            1 => ::tokio::select! { biased; $b = $two => { $or }, $c = $three => { $last }, $a = $one => { $then } },
            _ => ::tokio::select! { biased; $c = $three => { $last }, $a = $one => { $then }, $b = $two => { $or } },
        }
    };
    ($first:pat = $one:expr => $then:expr, $second:pat = $other:expr => $or:expr $(,)?) => {
        if shuttle::rand::Rng::gen_bool(&mut shuttle::rand::thread_rng(), 0.5) {
            ::tokio::select! { biased; $first = $one => { $then }, $second = $other => { $or } }
        } else {
            ::tokio::select! { biased; $second = $other => { $or }, $first = $one => { $then } }
        }
    };
}
pub(crate) use select;

/// Channels and notifications.
pub mod sync {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub use ::tokio::sync::watch;

    use crate::shim::step;

    /// `tokio::sync::Notify`.
    #[derive(Debug, Default)]
    pub struct Notify(::tokio::sync::Notify);

    impl Notify {
        /// As tokio's.
        pub fn new() -> Self {
            Self::default()
        }

        /// As tokio's: what is returned hears of every later `notify_waiters`.
        pub fn notified(&self) -> ::tokio::sync::futures::Notified<'_> {
            step();
            self.0.notified()
        }

        /// As tokio's.
        pub fn notify_waiters(&self) {
            step();
            self.0.notify_waiters();
        }
    }

    /// `tokio::sync::oneshot`.
    pub mod oneshot {
        use super::*;

        /// As tokio's.
        #[derive(Debug)]
        pub struct Sender<T>(::tokio::sync::oneshot::Sender<T>);

        /// As tokio's.
        #[derive(Debug)]
        pub struct Receiver<T>(::tokio::sync::oneshot::Receiver<T>);

        /// As tokio's.
        pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = ::tokio::sync::oneshot::channel();
            (Sender(sender), Receiver(receiver))
        }

        impl<T> Sender<T> {
            /// As tokio's.
            pub fn send(self, value: T) -> Result<(), T> {
                step();
                self.0.send(value)
            }
        }

        impl<T> Future for Receiver<T> {
            type Output = Result<T, ::tokio::sync::oneshot::error::RecvError>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                Pin::new(&mut self.0).poll(cx)
            }
        }
    }

    /// `tokio::sync::mpsc`.
    pub mod mpsc {
        use super::*;
        use ::tokio::sync::mpsc::error::{SendError, TryRecvError, TrySendError};

        /// As tokio's.
        #[derive(Debug)]
        pub struct Sender<T>(Option<::tokio::sync::mpsc::Sender<T>>);

        /// As tokio's.
        #[derive(Debug)]
        pub struct Receiver<T>(::tokio::sync::mpsc::Receiver<T>);

        /// As tokio's.
        pub fn channel<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = ::tokio::sync::mpsc::channel(bound);
            (Sender(Some(sender)), Receiver(receiver))
        }

        impl<T> Clone for Sender<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T> Sender<T> {
            /// As tokio's.
            pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
                step();
                match &self.0 {
                    Some(sender) => sender.try_send(value),
                    None => Err(TrySendError::Closed(value)),
                }
            }

            /// As tokio's.
            pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
                step();
                match &self.0 {
                    Some(sender) => sender.send(value).await,
                    None => Err(SendError(value)),
                }
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                // The last one closes the channel.
                step();
                self.0 = None;
            }
        }

        impl<T> Receiver<T> {
            /// As tokio's.
            pub async fn recv(&mut self) -> Option<T> {
                step();
                self.0.recv().await
            }

            /// As tokio's.
            pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
                step();
                self.0.try_recv()
            }

            /// As tokio's.
            pub fn is_closed(&self) -> bool {
                self.0.is_closed()
            }
        }
    }
}

/// Tasks.
pub mod task {
    use std::cell::Cell;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use ::tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    pub use shuttle::future::AbortHandle;

    use crate::shim::step;

    /// `tokio::task::JoinError`: here a panic ends the whole execution, so a task was aborted.
    #[derive(Debug)]
    pub struct JoinError;

    impl JoinError {
        /// As tokio's.
        pub fn is_cancelled(&self) -> bool {
            true
        }
    }

    impl std::fmt::Display for JoinError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the task was aborted")
        }
    }

    thread_local! {
        static RUNNING: Cell<usize> = const { Cell::new(0) };
    }

    /// One task that runs, for as long as its future lives.
    struct Running;

    impl Running {
        fn new() -> Self {
            RUNNING.set(RUNNING.get() + 1);
            Self
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            RUNNING.set(RUNNING.get() - 1);
        }
    }

    /// Before an execution begins.
    pub fn reset() {
        RUNNING.set(0);
    }

    /// Until every task has ended, those that were aborted too: shuttle wants no destructor left
    /// for the time after an execution.
    pub async fn all_ended() {
        while RUNNING.get() > 0 {
            shuttle::future::yield_now().await;
        }
    }

    /// `tokio::task::JoinHandle`.
    #[derive(Debug)]
    pub struct JoinHandle<T>(shuttle::future::JoinHandle<T>);

    /// `tokio::spawn`.
    pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let running = Running::new();
        JoinHandle(shuttle::future::spawn(async move {
            let _running = running;
            future.await
        }))
    }

    impl<T> JoinHandle<T> {
        /// As tokio's.
        pub fn abort(&self) {
            self.0.abort();
        }
    }

    impl<T> Future for JoinHandle<T> {
        type Output = Result<T, JoinError>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            Pin::new(&mut self.0).poll(cx).map_err(|_| JoinError)
        }
    }

    /// `tokio::task::JoinSet`.
    #[derive(Debug)]
    pub struct JoinSet<T> {
        tasks: Vec<JoinHandle<()>>,
        running: usize,
        report: UnboundedSender<Option<T>>,
        ended: UnboundedReceiver<Option<T>>,
    }

    /// Tells what a task of a set came to, also where it was aborted.
    struct Report<T> {
        value: Option<T>,
        to: UnboundedSender<Option<T>>,
    }

    impl<T> Drop for Report<T> {
        fn drop(&mut self) {
            // Nobody asks where the set is gone.
            let _ = self.to.send(self.value.take());
        }
    }

    impl<T> JoinSet<T> {
        /// As tokio's.
        pub fn new() -> Self {
            let (report, ended) = unbounded_channel();
            Self { tasks: Vec::new(), running: 0, report, ended }
        }

        /// As tokio's.
        pub fn spawn(&mut self, future: impl Future<Output = T> + Send + 'static) -> AbortHandle
        where
            T: Send + 'static,
        {
            let report = Report { value: None, to: self.report.clone() };
            self.running += 1;
            let task = spawn(async move {
                let mut report = report;
                report.value = Some(future.await);
            });
            let abort = task.0.abort_handle();
            self.tasks.push(task);
            abort
        }

        /// As tokio's.
        pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
            step();
            if self.running == 0 {
                return None;
            }
            let ended = self.ended.recv().await?;
            self.running -= 1;
            Some(ended.ok_or(JoinError))
        }
    }

    impl<T> Default for JoinSet<T> {
        fn default() -> Self {
            Self::new()
        }
    }

    impl<T> Drop for JoinSet<T> {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                for task in &self.tasks {
                    task.abort();
                }
            }
        }
    }
}

/// Time, which does not pass of itself.
pub mod time {
    use std::cell::RefCell;
    use std::pin::pin;
    use std::task::{Poll, Waker};
    use std::time::Duration;

    pub use ::tokio::time::Instant;

    #[derive(Default)]
    struct Clock {
        elapsed: bool,
        waiting: Vec<Waker>,
    }

    thread_local! {
        // All tasks of an execution run on one thread.
        static CLOCK: RefCell<Clock> = RefCell::default();
    }

    pub use error::Elapsed;

    /// Errors.
    pub mod error {
        /// A deadline passed.
        #[derive(Debug)]
        pub struct Elapsed;
    }

    /// Before an execution begins.
    pub fn reset() {
        CLOCK.with_borrow_mut(|clock| *clock = Clock::default());
    }

    /// All deadlines pass now, and those yet to be set have passed.
    pub fn elapse() {
        let waiting = CLOCK.with_borrow_mut(|clock| {
            clock.elapsed = true;
            std::mem::take(&mut clock.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    /// As tokio's.
    pub async fn timeout_at<T>(_: Instant, future: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            CLOCK.with_borrow_mut(|clock| {
                if clock.elapsed {
                    return Poll::Ready(Err(Elapsed));
                }
                clock.waiting.push(cx.waker().clone());
                Poll::Pending
            })
        })
        .await
    }

    /// Until this moment comes nothing else happens, so it never comes.
    pub async fn sleep(_: Duration) {
        std::future::pending().await
    }
}
