// Renders /openapi.json: every operation with its parameters, bodies and answers, and every
// schema. All texts are set as text, never as markup, so that nothing in the document can run.
"use strict";

/** An element with attributes and children; a string child becomes text. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const methods = ["get", "post", "put", "patch", "delete"];
const nameOf = (reference) => reference.split("/").pop();

/** A schema in one line, with links to the named ones. */
function typeOf(schema) {
  if (!schema) return element("span", {}, "any");
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return element("a", { href: "#schema-" + name }, name);
  }
  const several = schema.oneOf || schema.anyOf || schema.allOf;
  const line = element("span", {});
  if (several) {
    several.forEach((one, index) => {
      if (index > 0) line.append(schema.allOf ? " and " : " or ");
      line.append(typeOf(one));
    });
    return line;
  }
  if (schema.enum) {
    line.append(schema.enum.map((value) => JSON.stringify(value)).join(" | "));
    return line;
  }
  if ("const" in schema) {
    line.append(JSON.stringify(schema.const));
    return line;
  }
  const types = [schema.type].flat().filter(Boolean);
  if (types.includes("array")) {
    line.append("array of ", typeOf(schema.items));
    if (types.length > 1) line.append(" or " + types.filter((type) => type !== "array").join(" or "));
    return line;
  }
  if (types.includes("object") && schema.properties) {
    line.append(fields(schema));
    return line;
  }
  const limits = ["format", "minimum", "maximum", "minLength", "maxLength", "maxItems", "default"]
    .filter((key) => key in schema)
    .map((key) => (key === "format" ? schema.format : key + " " + JSON.stringify(schema[key])));
  line.append((types.join(" or ") || "any") + (limits.length ? " (" + limits.join(", ") + ")" : ""));
  return line;
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

const row = (...cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell)));

function fields(schema) {
  const required = schema.required || [];
  const rows = Object.entries(schema.properties || {}).map(([name, field]) =>
    row(
      element("code", {}, name + (required.includes(name) ? "" : "?")),
      typeOf(field),
      element("span", { class: "text" }, field.description || ""),
    ),
  );
  return table(["field", "type", "meaning"], rows);
}

function content(body) {
  const kinds = Object.entries(body.content || {});
  const parts = kinds.map(([kind, media]) => element("div", {}, element("code", {}, kind), " ", typeOf(media.schema)));
  return element("div", {}, ...parts);
}

function operation(method, path, described, shared) {
  const summary = element(
    "summary",
    {},
    element("span", { class: "method" }, method.toUpperCase()),
    element("code", {}, path),
    " ",
    element("span", { class: "what" }, described.summary || ""),
  );
  const box = element("details", { "data-words": (method + " " + path + " " + (described.summary || "")).toLowerCase() }, summary);
  if (described.description) box.append(element("p", { class: "text" }, described.description));
  const security = (described.security || []).flatMap((one) => Object.keys(one));
  if (security.length) box.append(element("p", {}, "Needs: " + security.join(" or ")));
  const parameters = [...(shared || []), ...(described.parameters || [])];
  if (parameters.length) {
    const rows = parameters.map((one) =>
      row(
        element("code", {}, one.name + (one.required ? "" : "?")),
        one.in,
        typeOf(one.schema),
        element("span", { class: "text" }, one.description || ""),
      ),
    );
    box.append(element("h3", {}, "Parameters"), table(["name", "in", "type", "meaning"], rows));
  }
  if (described.requestBody) box.append(element("h3", {}, "Body"), content(described.requestBody));
  const answers = Object.entries(described.responses || {}).map(([status, answer]) =>
    row(element("code", {}, status), element("span", { class: "text" }, answer.description || ""), content(answer)),
  );
  if (answers.length) box.append(element("h3", {}, "Answers"), table(["status", "meaning", "body"], answers));
  return box;
}

function render(api) {
  document.getElementById("about").replaceChildren(
    element("span", { class: "text" }, api.info.description || ""),
    " Version " + api.info.version + ", as ",
    element("a", { href: "/openapi.json" }, "OpenAPI " + api.openapi),
    ".",
  );
  const groups = new Map((api.tags || []).map((tag) => [tag.name, { about: tag.description || "", boxes: [] }]));
  for (const [path, item] of Object.entries(api.paths || {})) {
    for (const method of methods.filter((name) => item[name])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, { about: "", boxes: [] });
      groups.get(tag).boxes.push(operation(method, path, item[method], item.parameters));
    }
  }
  const main = document.getElementById("operations");
  for (const [tag, group] of groups) {
    if (group.boxes.length === 0) continue;
    main.append(element("h2", { id: "tag-" + tag }, tag), element("p", {}, group.about), ...group.boxes);
  }
  const schemas = document.getElementById("schemas");
  schemas.append(element("h2", {}, "Schemas"));
  for (const [name, schema] of Object.entries((api.components || {}).schemas || {})) {
    const box = element("details", { id: "schema-" + name }, element("summary", {}, element("code", {}, name)));
    if (schema.description) box.append(element("p", { class: "text" }, schema.description));
    box.append(typeOf(schema));
    schemas.append(box);
  }
}

/** Opens the schema that the address names, so that a link to it shows it. */
function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) {
    named.open = true;
    named.scrollIntoView();
  }
}

document.getElementById("find").addEventListener("input", (event) => {
  const word = event.target.value.trim().toLowerCase();
  for (const box of document.querySelectorAll("#operations details")) {
    box.hidden = !box.dataset.words.includes(word);
  }
});
addEventListener("hashchange", openNamed);

fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error("status " + answer.status))))
  .then((api) => {
    render(api);
    openNamed();
  })
  .catch((cause) => {
    document.getElementById("about").textContent = "Could not read /openapi.json: " + cause.message;
  });
