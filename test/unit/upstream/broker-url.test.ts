import { describe, expect, test } from "vitest";
import { parseBrokerUrl, withoutSecrets } from "../../../src/upstream/broker-url.ts";

describe("the address of a broker", () => {
  test.each([
    ["mqtt://broker", { scheme: "mqtt", host: "broker", port: undefined, isSecure: false }],
    ["mqtts://broker.example:8884", { scheme: "mqtts", host: "broker.example", port: 8_884, isSecure: true }],
    ["mqtt://[::1]:1883", { host: "::1", port: 1_883 }],
    ["wss://broker/mqtt?x=1", { webSocketUrl: "wss://broker/mqtt?x=1", isSecure: true }],
    ["mqtt://u%40x:p%2Fw@broker", { username: "u@x", password: "p/w", host: "broker" }],
    ["wss://u:p@broker/mqtt", { webSocketUrl: "wss://broker/mqtt", username: "u", password: "p" }],
    ["mqtt://%zz@broker", { username: "%zz" }],
  ])("%s", (text, parts) => {
    expect(parseBrokerUrl(text)).toMatchObject(parts);
  });

  test.each(["mqtt://broker:99999", "http://broker", "mqtt://", "broker", "mqtt://a b"])("%s is none", (text) => {
    expect(parseBrokerUrl(text)).toBeUndefined();
  });

  test.each([
    ["mqtt://broker:1883", "mqtt://broker:1883"],
    ["mqtts://user:secret@broker:8883/", "mqtts://***@broker:8883/"],
    ["mqtts://user:sec/ret@broker", "mqtts://***@broker"],
    ["mqtts://user:sec@ret@broker", "mqtts://***@broker"],
    ["wss://broker/mqtt?token=secret", "wss://broker/mqtt?***"],
  ])("%s may be seen as %s", (text, shown) => {
    expect(withoutSecrets(text)).toBe(shown);
  });
});
