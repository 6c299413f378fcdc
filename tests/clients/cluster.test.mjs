// `make cluster`: two users through HAProxy, each on another gateway; then how it ends.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cluster } from "./cluster.mjs";
import { Person } from "./people.mjs";

const CHAT = "674bd8ba5a0b920001bd9f5d";
const ANN = "6745e201c337080846beba9a";
const BOB = "6745e201c337080846beba9b";
const PARTS = ["redis", "cassandra", "fanout-1", "fanout-2", "gateway-1", "gateway-2", "haproxy"];

describe("make cluster", { timeout: 600_000 }, () => {
  const cluster = new Cluster();
  const people = [];
  const person = (user) => {
    const one = new Person(cluster, { phoenix: "phoenix-1.8", user, chat: CHAT });
    people.push(one);
    return one;
  };

  before(() => cluster.start());

  after(async () => {
    for (const one of people) one.end();
    await cluster.remove();
  });

  test("two users on two gateways get each other's messages", async () => {
    assert.deepEqual(Object.keys(cluster.processes), PARTS);
    assert.deepEqual(cluster.left(), PARTS);
    const [ann, bob] = [person(ANN), person(BOB)];
    for (const one of [ann, bob]) await one.hears("chat joined");
    assert.deepEqual(await cluster.connections(), [1, 1]);

    ann.say("Hey Bob");
    assert.equal((await ann.hears("message_sent")).status, "sent");
    assert.equal((await bob.hears("receive_message")).content, "Hey Bob");
    bob.say("Hey Ann");
    assert.equal((await ann.hears("receive_message")).content, "Hey Ann");
    bob.push("typing", { is_typing: true });
    assert.deepEqual(await ann.hears("typing"), { is_typing: true, user_id: BOB });
  });

  test("SIGTERM drains the gateways and leaves nothing", async () => {
    cluster.terminate();
    for (const one of people) assert.equal((await one.hears("close")).code, 1012);
    assert.equal(await cluster.ended(), 0, cluster.logged);
    assert.deepEqual(cluster.left(), []);
    for (const gateway of ["gateway-1", "gateway-2"]) assert.match(cluster.log(gateway), /drained/);
  });

  test("it goes on in its folder, and when a part dies it says which and ends the others", async () => {
    for (const one of people.splice(0)) one.end();
    await cluster.start();
    const bob = person(BOB);
    await bob.hears("chat joined");
    cluster.kill("fanout-2");
    assert.equal(await cluster.ended(), 1, cluster.logged);
    assert.match(cluster.logged, /fanout-2 has ended by itself/);
    assert.deepEqual(cluster.left(), []);
  });
});
