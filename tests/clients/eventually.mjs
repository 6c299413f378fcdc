// Waiting for something to become true, with a bound.
import { setTimeout as pause } from "node:timers/promises";

export async function eventually(what, probe, bound = 20_000) {
  const end = Date.now() + bound;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${bound} ms`);
    await pause(10);
  }
}
