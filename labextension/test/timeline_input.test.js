// Fingers, mouse and wheel become gestures.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { listenToPointers, listenToStrip } from "../../kvmdbg/jupyter/widgets/esm/timeline_input.js";

let element;
let heard;

function send(type, clientX, { pointerId = 1, ...more } = {}) {
  const event = new MouseEvent(type, { clientX, clientY: 10, bubbles: true, cancelable: true, ...more });
  Object.defineProperty(event, "pointerId", { value: pointerId });
  element.dispatchEvent(event);
  return event;
}

function turn(more) {
  const event = new WheelEvent("wheel", { clientX: 50, bubbles: true, cancelable: true, ...more });
  element.dispatchEvent(event);
  return event;
}

beforeEach(() => {
  element = document.body.appendChild(document.createElement("div"));
  element.tabIndex = 0;
  element.getBoundingClientRect = () => ({ left: 0, top: 0, width: 200, height: 50 });
  heard = { hover: vi.fn(), leave: vi.fn(), click: vi.fn(), pan: vi.fn(), zoom: vi.fn(), brush: vi.fn() };
});
afterEach(() => element.remove());

describe("a pointer on the picture", () => {
  beforeEach(() => listenToPointers(element, heard));

  test("that moves without a button hovers", () => {
    send("pointermove", 30);
    expect(heard.hover).toHaveBeenCalledWith(30, 10);
  });

  test("that stays where it was pressed clicks, and only then", () => {
    send("pointerdown", 30);
    send("pointermove", 32);
    send("pointerup", 32);
    expect(heard.click).toHaveBeenCalledWith(32, 10);
    expect(heard.pan).not.toHaveBeenCalled();
    send("pointerdown", 30);
    send("pointermove", 60);
    send("pointerup", 60);
    expect(heard.click).toHaveBeenCalledTimes(1);
  });

  test("that was called off does not click", () => {
    send("pointerdown", 30);
    send("pointercancel", 30);
    expect(heard.click).not.toHaveBeenCalled();
  });

  test("that drags pans by what it moved", () => {
    send("pointerdown", 100);
    send("pointermove", 90);
    send("pointermove", 70);
    expect(heard.pan.mock.calls.flat().reduce((sum, by) => sum + by)).toBe(30);
  });

  test("that drags with Shift selects", () => {
    send("pointerdown", 20, { shiftKey: true });
    send("pointermove", 80);
    expect(heard.brush).toHaveBeenLastCalledWith(20, 80);
    expect(heard.pan).not.toHaveBeenCalled();
  });

  test("with a second one zooms around their middle, and does not click", () => {
    send("pointerdown", 80);
    send("pointerdown", 120, { pointerId: 2 });
    send("pointermove", 60);
    expect(heard.zoom).toHaveBeenLastCalledWith(40 / 60, 90);
    send("pointerup", 60);
    send("pointerup", 120, { pointerId: 2 });
    expect(heard.click).not.toHaveBeenCalled();
  });

  test("with another button than the first is not the timeline's", () => {
    send("pointerdown", 30, { button: 2 });
    send("pointerup", 30, { button: 2 });
    expect(heard.click).not.toHaveBeenCalled();
  });
});

describe("a wheel", () => {
  beforeEach(() => listenToPointers(element, heard));

  test("scrolls the page past a timeline that nobody uses", () => {
    expect(turn({ deltaY: 100 }).defaultPrevented).toBe(false);
    expect(heard.zoom).not.toHaveBeenCalled();
  });

  test("zooms with Ctrl, or where the timeline has the focus", () => {
    expect(turn({ deltaY: -100, ctrlKey: true }).defaultPrevented).toBe(true);
    element.focus();
    turn({ deltaY: -100 });
    expect(heard.zoom).toHaveBeenCalledTimes(2);
    expect(heard.zoom.mock.calls[1][0]).toBeLessThan(1);
  });

  test("that turns sideways pans, also by Shift", () => {
    turn({ deltaX: 40, deltaY: 3 });
    turn({ deltaY: 25, shiftKey: true });
    expect(heard.pan.mock.calls).toEqual([[40], [25]]);
  });
});

test("the strip's frame is dragged, or put where one presses", () => {
  const [centre, drag] = [vi.fn(), vi.fn()];
  listenToStrip(element, (part) => part < 0.5, centre, drag);
  send("pointerdown", 20);
  send("pointermove", 40);
  expect(centre).not.toHaveBeenCalled();
  expect(drag.mock.lastCall[0]).toBeCloseTo(0.1);
  send("pointerup", 40);
  send("pointermove", 90);
  expect(drag).toHaveBeenCalledTimes(1);
  send("pointerdown", 160);
  expect(centre).toHaveBeenCalledWith(0.8);
});
