//! The formats of kernel files. Every function takes any text and answers what it finds in it.

/// A file that holds one number. `max` (cgroup v2) and `-1` (cgroup v1) are no number: no limit.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of `key` in a file of `key value` lines; `key:` is the same key (`/proc/meminfo`).
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        if name.strip_suffix(':').unwrap_or(name) != key {
            return None;
        }
        words.next()?.parse().ok()
    })
}

/// A value of `/proc/meminfo`, in bytes.
pub(super) fn meminfo(text: &str, key: &str) -> Option<u64> {
    keyed(text, key)?.checked_mul(1024)
}

/// `cpu.max`: quota and period in microseconds, as a number of CPUs. `max` is no limit.
pub(super) fn cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    quota(number(words.next()?)?, number(words.next()?)?)
}

/// A quota in a period, as a number of CPUs.
pub(super) fn quota(quota: u64, period: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)]
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// How many CPUs a list such as `0-3,8` names.
pub(super) fn cpu_list(text: &str) -> Option<u64> {
    let mut count: u64 = 0;
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        count = count.saturating_add(last.checked_sub(first)?.saturating_add(1));
    }
    Some(count)
}

/// Times of `/proc/stat`, in ticks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    /// In programs, nice ones too.
    pub(super) user: u64,
    /// In the kernel, interrupts included.
    pub(super) system: u64,
    /// Taken by the hypervisor for other machines.
    pub(super) steal: u64,
}

/// The line of all CPUs in `/proc/stat`.
pub(super) fn machine_ticks(text: &str) -> Option<Ticks> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let mut values = line.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let mut next = || values.next().flatten();
    let (user, nice, system) = (next()?, next()?, next()?);
    let (_idle, _iowait) = (next()?, next()?);
    let interrupts = next().unwrap_or(0).saturating_add(next().unwrap_or(0));
    Some(Ticks {
        user: user.saturating_add(nice),
        system: system.saturating_add(interrupts),
        steal: next().unwrap_or(0),
    })
}

/// How many CPUs `/proc/stat` lists as online.
pub(super) fn online_cpus(text: &str) -> u64 {
    text.lines()
        .filter(|line| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
        .count() as u64
}

/// One line of a pressure file: share of the last 10 s in which tasks stalled (percent), and all
/// stalled time (microseconds).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stall {
    /// Percent of the last 10 s.
    pub(super) avg10: f64,
    /// Microseconds since the start.
    pub(super) total: u64,
}

/// The line `some` or `full` of a pressure file.
pub(super) fn pressure(text: &str, line: &str) -> Option<Stall> {
    let rest = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '))?;
    let value = |key: &str| rest.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let avg10 = value("avg10")?.parse().ok().filter(|avg: &f64| avg.is_finite())?;
    Some(Stall { avg10, total: number(value("total")?)? })
}

/// Bytes and operations of disks, or bytes of networks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Io {
    /// Bytes read.
    pub(super) read: u64,
    /// Bytes written.
    pub(super) write: u64,
    /// Reads.
    pub(super) reads: u64,
    /// Writes.
    pub(super) writes: u64,
}

fn add(sum: &mut u64, value: Option<u64>) {
    *sum = sum.saturating_add(value.unwrap_or(0));
}

/// `io.stat` of cgroup v2, over all devices.
pub(super) fn io_stat(text: &str) -> Io {
    let mut io = Io::default();
    for (key, value) in text.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
        match key {
            "rbytes" => add(&mut io.read, number(value)),
            "wbytes" => add(&mut io.write, number(value)),
            "rios" => add(&mut io.reads, number(value)),
            "wios" => add(&mut io.writes, number(value)),
            _ => {}
        }
    }
    io
}

/// A `blkio` file of cgroup v1 (`8:0 Read 4096`), over all devices: reads and writes.
pub(super) fn blkio(text: &str) -> (u64, u64) {
    let (mut read, mut write) = (0, 0);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(_device), Some(what), Some(value)) = (words.next(), words.next(), words.next()) else { continue };
        match what {
            "Read" => add(&mut read, number(value)),
            "Write" => add(&mut write, number(value)),
            _ => {}
        }
    }
    (read, write)
}

/// `/proc/diskstats`, over whole disks: what is written to a partition is written to its disk, and
/// what is written to a stacked or memory device (`dm-0`, `md0`, `zram0`) is no disk or counted below.
pub(super) fn diskstats(text: &str) -> Io {
    const NOT_DISKS: [&str; 6] = ["loop", "ram", "zram", "dm-", "md", "sr"];
    const SECTOR: u64 = 512;
    let mut io = Io::default();
    let mut disk = "";
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(2);
        let Some(name) = words.next() else { continue };
        // A disk stands before its partitions.
        let is_partition = !disk.is_empty()
            && name.strip_prefix(disk).is_some_and(|rest| {
                let digits = rest.strip_prefix('p').unwrap_or(rest);
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            });
        if is_partition || NOT_DISKS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        disk = name;
        let mut next = || words.next().and_then(number);
        let (reads, _merged, sectors_read, _ms) = (next(), next(), next(), next());
        let (writes, _merged, sectors_written) = (next(), next(), next());
        add(&mut io.reads, reads);
        add(&mut io.writes, writes);
        add(&mut io.read, sectors_read.and_then(|n| n.checked_mul(SECTOR)));
        add(&mut io.write, sectors_written.and_then(|n| n.checked_mul(SECTOR)));
    }
    io
}

/// What `/proc/net/dev` counts, over all interfaces but the loopback.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Net {
    /// Bytes received.
    pub(super) received: u64,
    /// Bytes sent.
    pub(super) sent: u64,
    /// Packets with errors, both ways.
    pub(super) errors: u64,
    /// Packets dropped, both ways.
    pub(super) dropped: u64,
}

/// `/proc/net/dev`.
pub(super) fn net_dev(text: &str) -> Net {
    let mut net = Net::default();
    // A long name leaves no space after the colon.
    for (name, rest) in text.lines().filter_map(|line| line.split_once(':')) {
        if name.trim() == "lo" {
            continue;
        }
        let mut values = [None; 12];
        for (slot, word) in values.iter_mut().zip(rest.split_ascii_whitespace()) {
            *slot = number(word);
        }
        add(&mut net.received, values[0]);
        add(&mut net.sent, values[8]);
        add(&mut net.errors, values[2]);
        add(&mut net.errors, values[10]);
        add(&mut net.dropped, values[3]);
        add(&mut net.dropped, values[11]);
    }
    net
}

/// A value of a `/proc/net/sockstat` line: `TCP: inuse 4 orphan 0 tw 1`.
pub(super) fn sockstat(text: &str, protocol: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'))?;
    let mut words = rest.split_ascii_whitespace();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if name == key {
            return number(value);
        }
    }
    None
}

/// Load of the last minute and number of threads, from `/proc/loadavg`.
pub(super) fn loadavg(text: &str) -> Option<(f64, u64)> {
    let mut words = text.split_ascii_whitespace();
    let load = words.next()?.parse().ok().filter(|load: &f64| load.is_finite())?;
    let (_running, threads) = words.nth(2)?.split_once('/')?;
    Some((load, number(threads)?))
}

/// Seconds since boot, from `/proc/uptime`.
pub(super) fn uptime(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

/// What `/proc/PID/stat` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat<'a> {
    /// The name, cut by the kernel to 15 bytes.
    pub(super) comm: &'a str,
    /// `R`, `S`, ..., `Z` for a zombie.
    pub(super) state: char,
    /// Processor time, in ticks.
    pub(super) ticks: u64,
    /// Threads.
    pub(super) threads: u64,
    /// Ticks from boot to its start. With the pid it is the identity of a process.
    pub(super) start: u64,
    /// Resident pages.
    pub(super) rss_pages: u64,
}

/// `/proc/PID/stat`. The name may hold anything, parentheses and spaces too: it ends at the last `)`.
pub(super) fn stat(text: &str) -> Option<Stat<'_>> {
    let (head, tail) = text.rsplit_once(')')?;
    let (_pid, comm) = head.split_once('(')?;
    let mut words = tail.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    // Numbers of proc(5) less the three fields taken above and one.
    let mut at = 4;
    let mut field = |number: usize| {
        let word = words.nth(number - at);
        at = number + 1;
        word?.parse::<u64>().ok()
    };
    let ticks = field(14)?.saturating_add(field(15)?);
    let (threads, start) = (field(20)?, field(22)?);
    Some(Stat { comm, state, ticks, threads, start, rss_pages: field(24).unwrap_or(0) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use procfs::FromRead as _;
    use proptest::prelude::*;

    /// The procfs crate is the oracle: it reads this machine's own processes as we do. It is no part
    /// of the program, since it asks for every field of a file and panics on some texts.
    #[test]
    fn this_machines_processes_read_as_the_procfs_crate_reads_them() {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path().join("stat")));
        let texts: Vec<String> = processes.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        let mut compared = 0;
        for text in texts.iter().filter(|text| text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('(')) {
            let theirs = procfs::process::Stat::from_read(text.as_bytes()).unwrap();
            let expected = Stat {
                comm: &theirs.comm,
                state: theirs.state,
                ticks: theirs.utime + theirs.stime,
                threads: u64::try_from(theirs.num_threads).unwrap(),
                start: theirs.starttime,
                rss_pages: theirs.rss,
            };
            assert_eq!(stat(text).unwrap(), expected);
            compared += 1;
        }
        assert!(compared > 0);
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let theirs = procfs::Meminfo::from_read(text.as_bytes()).unwrap();
        assert_eq!(meminfo(&text, "MemTotal"), Some(theirs.mem_total));
        assert_eq!(meminfo(&text, "MemAvailable"), theirs.mem_available);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text =
            "7 (a) R (b) S 1 7 7 0 -1 4194304 98 0 0 0 30 12 0 0 20 0 5 0 551099 3133440 380 18446744073709551615";
        let expected = Stat { comm: "a) R (b", state: 'S', ticks: 42, threads: 5, start: 551_099, rss_pages: 380 };
        assert_eq!(stat(text).unwrap(), expected);
    }

    #[test]
    fn partitions_and_stacked_devices_are_not_counted_twice() {
        let text = " 8 0 sda 10 0 100 0 20 0 200 0\n 8 1 sda1 10 0 100 0 20 0 200 0\n 8 16 sdb 1 0 1 0 0 0 0 0\n \
                    259 0 nvme0n1 1 0 2 0 0 0 0 0\n 259 1 nvme0n1p1 1 0 2 0 0 0 0 0\n 253 0 dm-0 5 0 50 0 5 0 50 0\n";
        assert_eq!(diskstats(text), Io { read: 103 * 512, write: 200 * 512, reads: 12, writes: 20 });
    }

    #[test]
    fn no_limit_is_not_a_number() {
        assert_eq!((number("max\n"), number("-1\n"), number("42\n")), (None, None, Some(42)));
        assert_eq!((cpu_max("max 100000\n"), cpu_max("50000 100000\n"), cpu_max("1 0")), (None, Some(0.5), None));
    }

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(
            (cpu_list("0-3,8\n"), cpu_list("0"), cpu_list("\n"), cpu_list("3-1")),
            (Some(5), Some(1), None, None)
        );
    }

    #[test]
    fn an_interface_name_may_touch_its_first_number() {
        let text = " face |bytes packets\nlo: 9 0 0 0 0 0 0 0 9 0 0 0\nlongname0:100 1 2 3 0 0 0 0 50 1 4 5 0 0 0 0\n";
        assert_eq!(net_dev(text), Net { received: 100, sent: 50, errors: 6, dropped: 8 });
    }

    fn parse_all(text: &str) {
        let _ = (number(text), keyed(text, "cpu"), meminfo(text, "MemTotal"), cpu_max(text), cpu_list(text));
        let _ = (machine_ticks(text), online_cpus(text), pressure(text, "some"), io_stat(text), blkio(text));
        let _ = (diskstats(text), net_dev(text), sockstat(text, "TCP", "inuse"), loadavg(text), uptime(text));
        let _ = stat(text);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in any::<String>()) {
            parse_all(&text);
        }

        #[test]
        fn text_close_to_the_real_formats_is_parsed_without_a_panic(
            text in "((cpu|cpu0|some|TCP:|eth0:|8:0|sda|MemTotal:|rbytes=|avg10=|total=|\\(x\\)|[0-9]{1,25}|-|/|,|max|NaN|inf)[ \n]?){0,40}"
        ) {
            parse_all(&text);
        }
    }
}
