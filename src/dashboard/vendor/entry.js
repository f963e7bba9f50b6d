// What the dashboard takes from others, as one module.
import { h } from "preact";
import htm from "htm";

export { h, render, Fragment } from "preact";
export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export { default as uPlot } from "uplot";
export const html = htm.bind(h);
