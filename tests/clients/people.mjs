// People for the tests to talk to: each a process of its own with the published client in it.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.mjs";

export class Person {
  #child;
  /** Everything heard, in order. */
  heard = [];

  constructor(server, { phoenix, user, chat = "", first = "" }) {
    this.user = user;
    const env = {
      PATH: process.env.PATH,
      PHOENIX: phoenix,
      ENDPOINT: server.endpoint,
      TOKEN: server.token(user),
      USER_ID: user,
      CHAT: chat,
      FIRST_MESSAGE: first,
    };
    this.#child = fork(fileURLToPath(new URL("person.mjs", import.meta.url)), { env });
    this.#child.on("message", (message) => this.heard.push(message));
  }

  /** The payloads of an event so far. */
  all(event) {
    return this.heard.filter((message) => message.event === event).map((message) => message.payload);
  }

  /** Waits for the `number`-th occurrence of an event, counted from 1, and returns its payload. */
  hears(event, number = 1) {
    return eventually(`${this.user} hears ${event} (${number})`, () => this.all(event)[number - 1]);
  }

  push(event, payload) {
    this.#child.send({ command: "push", event, payload });
  }

  say(content) {
    this.push("send_message", { content, mobile_ref_id: content });
  }

  leave() {
    this.#child.send({ command: "leave" });
  }

  /** Disconnects and ends, as an app that is put away. */
  async go() {
    const ended = once(this.#child, "exit");
    this.#child.send({ command: "go" });
    await ended;
  }

  end() {
    this.#child.kill("SIGKILL");
  }
}
