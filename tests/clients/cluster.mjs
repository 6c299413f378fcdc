// The cluster of `make cluster` as a child process, in a folder that it keeps over restarts.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.mjs";

const script = fileURLToPath(new URL("../../deploy/dev/cluster.sh", import.meta.url));

export class Cluster {
  #dir = mkdtempSync(join(tmpdir(), "roost-clients-"));
  #child;
  /** What it wrote to standard output, and to standard error. */
  said = "";
  logged = "";
  /** Process ids by the parts' names. */
  processes = {};

  async start() {
    [this.said, this.logged] = ["", ""];
    // Its server is $ROOST_BIN, like that of the other tests.
    this.#child = spawn(script, ["--port", "0", "--dir", this.#dir], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stdout.on("data", (text) => (this.said += text));
    this.#child.stderr.on("data", (text) => (this.logged += text));
    const started = () => {
      if (this.#child.exitCode !== null) throw new Error(`the cluster did not start: ${this.logged}`);
      return this.said.includes("Ctrl-C ends it");
    };
    await eventually("the cluster says that it is there", started, 240_000);
    const processes = this.said.match(/^ {2}processes +(.*)$/m)[1].split(" ");
    this.processes = Object.fromEntries(processes.map((part) => part.split("=")));
  }

  get endpoint() {
    return this.said.match(/ws:\/\/[\d.:]+\/socket/)[0];
  }

  /** The internal APIs of the gateways. */
  get apis() {
    return [...this.said.matchAll(/internal API on (http:\/\/[\d.:]+)/g)].map((match) => match[1]);
  }

  /** Made with the command that it prints. */
  token(user) {
    const [program, ...args] = this.said.match(/more of them: (.*)/)[1].replace("bob", user).split(" ");
    return execFileSync(program, args, { encoding: "utf8" }).trim();
  }

  async connections() {
    const of = async (api) => {
      const text = await (await fetch(`${api}/metrics`)).text();
      return Number(text.match(/^roost_connections (\d+)$/m)[1]);
    };
    return await Promise.all(this.apis.map(of));
  }

  /** Its exit status. */
  async ended() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "close");
    return this.#child.exitCode;
  }

  terminate() {
    this.#child.kill("SIGTERM");
  }

  kill(part) {
    process.kill(Number(this.processes[part]), "SIGKILL");
  }

  /** The parts whose processes are still there. One that nobody has waited for yet is none. */
  left() {
    const lives = (id) => /^[^Z\s]/.test(spawnSync("ps", ["-o", "stat=", "-p", id], { encoding: "utf8" }).stdout);
    return Object.keys(this.processes).filter((part) => lives(this.processes[part]));
  }

  /** What a part has logged, for a failure. */
  log(part) {
    const file = join(this.#dir, `${part}.log`);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  async remove() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.terminate();
      await this.ended();
    }
    rmSync(this.#dir, { recursive: true });
  }
}
