// How many bytes of content are held until their runs end, and the bound of that.

export class Held {
  constructor(maxBytes) {
    this.maxBytes = maxBytes;
    this.bytes = 0;
  }

  /** Counts a content as held by a run, and returns it. */
  hold(run, content) {
    this.#add(run, content, 1);
    return content;
  }

  release(run, content) {
    this.#add(run, content, -1);
  }

  releaseAll(run) {
    this.bytes -= run.heldBytes;
    run.heldBytes = 0;
  }

  /** Gives up contents, those of the oldest runs first, until the bound holds. Their sizes stay. */
  bound(runs, contentsOf) {
    for (const run of runs) {
      if (this.bytes <= this.maxBytes) return;
      for (const content of contentsOf(run)) {
        if (content?.json === undefined) continue;
        this.release(run, content);
        content.json = undefined;
        content.truncated = true;
      }
    }
  }

  #add(run, content, sign) {
    if (content?.json === undefined) return;
    run.heldBytes += sign * content.bytes;
    this.bytes += sign * content.bytes;
  }
}
