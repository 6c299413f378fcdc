// The real server as a child process, on loopback and on a port that it keeps over restarts.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { eventually } from "./eventually.mjs";

const binary = process.env.ROOST_BIN;
if (!binary) throw new Error("ROOST_BIN does not name the server's binary; `make clients` sets it");

export class Server {
  #directory = mkdtempSync(join(tmpdir(), "roost-clients-"));
  #data = join(this.#directory, "data");
  #log = join(this.#directory, "log");
  #child;
  #address = "127.0.0.1:0";
  #api;

  async start() {
    const log = openSync(this.#log, "a");
    const args = ["--data", this.#data, "--listen", this.#address, "--api-listen", "127.0.0.1:0"];
    this.#child = spawn(binary, args, { cwd: this.#directory, env: {}, stdio: ["ignore", "pipe", log] });
    let text = "";
    for await (const line of createInterface({ input: this.#child.stdout })) {
      text += `${line}\n`;
      const address = text.match(/listening on http:\/\/([\d.:]+)/)?.[1];
      const api = text.match(/internal API on http:\/\/([\d.:]+)/)?.[1];
      if (!address || !api) continue;
      this.#child.stdout.resume();
      [this.#address, this.#api] = [address, `http://${api}`];
      return;
    }
    throw new Error(`the server does not say where it listens: ${text}${readFileSync(this.#log, "utf8")}`);
  }

  get endpoint() {
    return `ws://${this.#address}/socket`;
  }

  token(user) {
    const args = ["token", "--user", user, "--device", "some-device", "--data", this.#data];
    return execFileSync(binary, args, { cwd: this.#directory, env: {}, encoding: "utf8" }).trim();
  }

  /** Waits until a metric, by its whole name, is at least `least`. */
  async metric(name, least) {
    await eventually(`${name} is at least ${least}`, async () => {
      const text = await (await fetch(`${this.#api}/metrics`)).text();
      const line = text.split("\n").find((line) => line.startsWith(`${name} `));
      return line && Number(line.slice(name.length + 1)) >= least;
    });
  }

  /** Ends it with a signal and returns its exit status. */
  async end(signal) {
    const ended = once(this.#child, "exit");
    this.#child.kill(signal);
    return (await ended)[0];
  }

  async remove() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.end("SIGKILL");
    rmSync(this.#directory, { recursive: true });
  }
}
