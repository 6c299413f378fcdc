// The published phoenix.js against the real server: two users in two processes.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { eventually } from "./eventually.mjs";
import { Person } from "./people.mjs";
import { Server } from "./server.mjs";

const CHAT = "674bd8ba5a0b920001bd9f5d";
const ANN = "6745e201c337080846beba9a";
const BOB = "6745e201c337080846beba9b";

for (const phoenix of ["phoenix-1.7", "phoenix-1.8"]) {
  describe(phoenix, { timeout: 120_000 }, () => {
    let server;
    let people;
    const person = (user, options = {}) => {
      const one = new Person(server, { phoenix, user, ...options });
      people.push(one);
      return one;
    };

    beforeEach(async () => {
      people = [];
      server = new Server();
      await server.start();
    });

    afterEach(async () => {
      for (const one of people) one.end();
      await server.remove();
    });

    test("two users talk: at once, in the room, and by notification", async () => {
      const bob = person(BOB, { chat: CHAT });
      await bob.hears("chat joined");
      await bob.hears("notifications joined");
      const ann = person(ANN, { chat: CHAT, first: "Hey" });
      const sent = await ann.hears("message_sent");
      assert.equal(sent.status, "sent");
      assert.equal(sent.mobile_ref_id, "123124");
      assert.equal(sent.chat_id, CHAT);
      const { message_id, timestamp } = sent;
      const message = { chat_id: CHAT, content: "Hey", sender_id: ANN, message_id, timestamp };
      assert.deepEqual(await bob.hears("receive_message"), message);

      ann.push("typing", { is_typing: true });
      assert.deepEqual(await bob.hears("typing"), { is_typing: true, user_id: ANN });

      bob.leave();
      await bob.hears("chat left");
      ann.say("you left?");
      const told = await bob.hears("new_notification");
      assert.equal(told.content, "you left?");
      assert.equal((await ann.hears("replied", 1)).message_id, told.message_id);
      assert.equal(bob.all("receive_message").length, 1);
      assert.equal(bob.all("pending_notification").length, 0);
      assert.equal(ann.all("receive_message").length, 0);
    });

    test("one who was away finds what was said, in order, once, and not again", async () => {
      const before = person(BOB, { chat: CHAT });
      await before.hears("chat joined");
      const ann = person(ANN, { chat: CHAT });
      await ann.hears("chat joined");
      await before.go();
      const said = ["one", "two", "three"];
      for (const content of said) ann.say(content);
      await ann.hears("message_sent", said.length);

      const back = person(BOB);
      await back.hears("pending_notification", said.length);
      assert.deepEqual(back.all("pending_notification").map((p) => p.content), said);
      const sent = ann.all("message_sent").map((p) => p.message_id);
      assert.deepEqual(back.all("pending_notification").map((p) => p.message_id), sent);
      await server.metric('roost_confirmed_total{kind="pending"}', said.length);
      await back.go();

      ann.say("four");
      await ann.hears("message_sent", 4);
      const again = person(BOB);
      assert.equal((await again.hears("pending_notification")).content, "four");
      assert.equal(again.all("pending_notification").length, 1);
    });

    for (const [what, signal, code] of [
      ["was killed", "SIGKILL", 1006],
      ["drained", "SIGTERM", 1012],
    ]) {
      test(`clients come back by themselves when the server ${what} and was started again`, async () => {
        const bob = person(BOB, { chat: CHAT });
        await bob.hears("chat joined");
        await bob.hears("notifications joined");
        const ann = person(ANN, { chat: CHAT, first: "before" });
        const first = await bob.hears("receive_message");
        await ann.hears("message_sent");

        const status = await server.end(signal);
        if (signal === "SIGTERM") assert.equal(status, 0);
        for (const one of [ann, bob]) assert.equal((await one.hears("close")).code, code);
        // Pushed while there is no server: the client keeps it and sends it when it is back.
        ann.say("meanwhile");
        await server.start();
        await bob.hears("chat joined", 2);
        await bob.hears("notifications joined", 2);
        await ann.hears("message_sent", 2);
        ann.say("after");
        await ann.hears("message_sent", 3);
        const kinds = ["receive_message", "new_notification", "pending_notification"];
        const contents = () =>
          bob.heard
            .filter(({ event, payload }) => kinds.includes(event) && payload.message_id !== first.message_id)
            .map(({ payload }) => payload.content);
        await eventually("bob hears the last message", () => contents().includes("after"));
        assert.deepEqual([...new Set(contents())], ["meanwhile", "after"]);
        assert.ok(ann.all("message_sent").every((p) => p.status === "sent"));
      });
    }
  });
}
