// What the pipeline's own figures mean, in words, and which of them a person should look at.

import { ago, bytes, count, plural } from "./format.js";

/** Figures by name: `sum("store_events_total")`, of one component or of all, with a label or without. */
export function figures(status) {
  const of = (name, component, label) => status.metrics.filter((one) => one.name === name
    && (component === undefined || one.component === component)
    && (label === undefined || Object.values(one.labels ?? {}).includes(label)));
  const sum = (...which) => {
    const found = of(...which);
    return found.length === 0 ? undefined : found.reduce((total, one) => total + one.value, 0);
  };
  return { of, sum };
}

/** `[{ level: "act" | "watch" | "ok", title, text }]`, what a person must do first. */
export function verdicts(status, now = Date.now()) {
  const { sum } = figures(status);
  const found = [];
  const say = (level, title, text) => found.push({ level, title, text });
  const some = (...which) => sum(...which) > 0;

  if (status.phase === "draining") say("watch", "Shutting down", "It takes no more events and writes what it holds.");
  if (status.phase === "starting") say("watch", "Starting", "It will take events in a moment.");
  if (status.refusing) say("act", "Events are refused now", String(status.refusing));
  if (!status.store) say("watch", "The store cannot be read", "There is no sqlite_store in the configuration, or its file is busy. Without it this page has nothing to show.");
  if (some("queue_lost_total")) say("act", "Batches were lost inside the pipeline", `${count(sum("queue_lost_total"))} found no room in a queue. That must never happen: please report it.`);
  if (some("store_failures_total")) say("act", "Writes to the store have failed", `${plural(sum("store_failures_total"), "group write")} since the start. Look at the disk and at the log; the agent was told to send again.`);
  if (some("push_breaker_open")) say("act", "The receiver is not reached", "Pushing rests for a while after repeated failures. Events are kept and sent later.");
  if (some("store_deleted_unsent_total")) say("act", "Events were deleted before they were pushed", `${count(sum("store_deleted_unsent_total"))}. The store's age or size limit was reached while the receiver was away.`);
  if (some("push_rejected_total")) say("watch", "The receiver refused events for good", `${plural(sum("push_rejected_total"), "event")} are set aside; each says why (quarantine_reason).`);
  if (some("refused_total")) say("watch", "Clients were asked to wait", `${plural(sum("refused_total"), "event")} came while there was no room, since the start. Whoever sent them was told so and may send them again.`);
  if (some("ingest_rejected_total")) say("watch", "Events could not be read", `${count(sum("ingest_rejected_total"))} since the start. The answer told the client what was wrong with each.`);
  if (sum("store_wal_bytes") > 50 * 1024 * 1024) say("watch", "The write-ahead log is large", `${bytes(sum("store_wal_bytes"))}. A reader that stays open keeps it from shrinking.`);
  if (some("cost_events_total", undefined, "unpriced")) say("watch", "Model calls without a price", `${count(sum("cost_events_total", undefined, "unpriced"))} since the start; they are in no sum of costs.`);
  if (status.store?.rollup_behind > 2000) say("watch", "Sums lag behind", `${count(status.store.rollup_behind)} events are stored but not summed up yet; figures will catch up.`);
  if (sum("push_pending") > 5000) say("watch", "Many events wait to be pushed", `${count(sum("push_pending"))}${sum("push_pending") >= 10_000 ? " or more" : ""}.`);
  const lag = sum("push_last_success_timestamp_seconds");
  if (lag > 0 && sum("push_pending") > 0 && now / 1000 - lag > 3600) say("watch", "Nothing was pushed for over an hour", `The last confirmation came ${ago(lag * 1000, now)}.`);

  if (!found.some((one) => one.level === "act")) say("ok", found.length === 0 ? "All is well" : "Nothing needs a person", "Events are taken, stored and kept.");
  const order = ["act", "ok", "watch"];
  found.sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level));
  return found;
}
