// A table that can be sorted: columns say what they hold, how it is shown, and how it is ordered.

import { html, useMemo, useState } from "../vendor/vendor.js";
import { toRow } from "./ui.js";

/**
 * `columns`: `{ key, label, value(row), show(row), number, wide, hide }`; `hide` names the width below which the column
 * makes room (`phone`, `tablet`). `sort`: `[key, descending]`; without it rows keep their order.
 */
export function Table({ columns, rows, sort, label, rowKey, target, foot, phone = "" }) {
  const [order, setOrder] = useState(sort);
  const sorted = useMemo(() => {
    const column = order && columns.find((one) => one.key === order[0]);
    if (!column) return rows;
    const value = column.value ?? ((row) => row[column.key]);
    return [...rows].sort((a, b) => compare(value(a), value(b), order[1]));
  }, [rows, order, columns]);
  const turn = (column) => setOrder(([key, down] = []) => (key === column.key ? [key, !down] : [column.key, Boolean(column.number)]));
  const sortable = Boolean(sort);
  return html`<div class="table-box"><table class=${phone} aria-label=${label}>
    <thead><tr>${columns.map((column) => html`<th key=${column.key} scope="col" class=${cell(column)} aria-sort=${sortable && order[0] === column.key ? (order[1] ? "descending" : "ascending") : undefined}>
      ${sortable && !column.fixed
        ? html`<button class="sort" onClick=${() => turn(column)}>${column.label}<span class="arrow" aria-hidden="true">${order[0] === column.key ? (order[1] ? "↓" : "↑") : ""}</span></button>`
        : column.label}</th>`)}</tr></thead>
    <tbody>${sorted.map((row, at) => html`<tr key=${rowKey ? rowKey(row) : at} class=${target ? "link" : ""} onClick=${target && toRow(target(row))}>
      ${columns.map((column, place) => {
        const shown = column.show ? column.show(row, at) : row[column.key];
        return place === 0 ? html`<th scope="row" class=${cell(column)}>${shown}</th>` : html`<td key=${column.key} class=${cell(column)} data-label=${column.label}>${shown}</td>`;
      })}</tr>`)}</tbody>
    ${foot && html`<tfoot><tr>${columns.map((column, place) => {
      const shown = foot[column.key] ?? "";
      return place === 0 ? html`<th scope="row" class=${cell(column)}>${shown}</th>` : html`<td key=${column.key} class=${cell(column)} data-label=${column.label}>${shown}</td>`;
    })}</tr></tfoot>`}
  </table></div>`;
}

function cell(column) {
  return [column.number && "num", column.wide && "wide", column.hide && `hide-${column.hide}`].filter(Boolean).join(" ");
}

/** What is not known stands at the end, however it is sorted. */
function compare(a, b, descending) {
  const none = (value) => value === undefined || value === null || Number.isNaN(value);
  if (none(a) || none(b)) return none(a) - none(b);
  const order = typeof a === "string" ? a.localeCompare(String(b)) : a - b;
  return descending ? -order : order;
}
