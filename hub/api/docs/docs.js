// Renders openapi.json. Everything goes in as text, never as markup.
"use strict";

const methods = ["get", "post", "put", "patch", "delete"];

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  for (const child of children) {
    if (child !== null && child !== undefined && child !== "") node.append(child);
  }
  return node;
}

const nameOf = (ref) => ref.split("/").pop();
const anchorOf = (op) => "call-" + op.operationId;

// typeOf describes a schema in a few words, with links to named ones.
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return el("a", { href: "#schema-" + name }, name);
  }
  const types = [].concat(schema.type || []).filter((t) => t !== "null");
  if (types.includes("array")) return el("span", {}, "list of ", typeOf(schema.items));
  const words = [schema.format === "uuid" || schema.format === "date-time" ? schema.format : types.join(" or ") || "any"];
  if (schema.enum) words.push("one of " + schema.enum.join(", "));
  if (schema.minimum !== undefined || schema.maximum !== undefined) words.push(`${schema.minimum ?? ""} to ${schema.maximum ?? ""}`);
  if (schema.default !== undefined) words.push("default " + schema.default);
  return words.join("; ");
}

function table(rows) {
  const body = el("tbody");
  for (const [name, type, required, text] of rows) {
    body.append(el("tr", {}, el("td", {}, el("code", {}, name)), el("td", {}, type), el("td", {}, required ? "required" : ""), el("td", {}, text || "")));
  }
  return el("table", {}, body);
}

function fields(schema) {
  const required = schema.required || [];
  return table(Object.entries(schema.properties || {}).map(([name, s]) => [name, typeOf(s), required.includes(name), s.description]));
}

function resolve(doc, schema) {
  return schema && schema.$ref ? doc.components.schemas[nameOf(schema.$ref)] : schema;
}

function renderCall(doc, method, path, op) {
  const section = el("section", { id: anchorOf(op) },
    el("h3", {}, el("span", { class: "method" }, method.toUpperCase()), " ", el("code", {}, doc.servers[0].url + path)),
    el("p", {}, op.summary || ""), op.description ? el("p", {}, op.description) : null);
  const parameters = op.parameters || [];
  if (parameters.length) {
    section.append(el("h4", {}, "Parameters"),
      table(parameters.map((p) => [p.name + " (" + p.in + ")", typeOf(p.schema), p.required, p.description || (p.schema || {}).description])));
  }
  const body = op.requestBody && resolve(doc, op.requestBody.content["application/json"].schema);
  if (body) section.append(el("h4", {}, "Body"), fields(body));
  for (const [status, response] of Object.entries(op.responses || {})) {
    const content = response.content && Object.values(response.content)[0];
    section.append(el("p", {}, el("code", {}, status), " ", response.description || "", " ", content ? typeOf(content.schema) : ""));
  }
  return section;
}

function render(doc) {
  document.getElementById("about").textContent = `${doc.info.description} Version ${doc.info.version}.`;
  const calls = document.getElementById("calls");
  const contents = document.getElementById("contents");
  calls.replaceChildren();
  const groups = new Map();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of methods) {
      const op = item[method];
      if (!op) continue;
      const tag = (op.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([method, path, op]);
    }
  }
  for (const [tag, list] of [...groups].sort()) {
    contents.append(el("h3", {}, tag));
    calls.append(el("h2", {}, tag));
    for (const [method, path, op] of list) {
      contents.append(el("a", { href: "#" + anchorOf(op) }, method.toUpperCase() + " " + path));
      calls.append(renderCall(doc, method, path, op));
    }
  }
  const schemas = document.getElementById("schemas");
  for (const [name, schema] of Object.entries(doc.components.schemas).sort()) {
    schemas.append(el("section", { id: "schema-" + name }, el("h3", {}, name), fields(schema)));
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("/api/v1/openapi.json")
  .then((response) => response.json())
  .then(render)
  .catch(() => { document.getElementById("calls").textContent = "The description could not be loaded."; });
