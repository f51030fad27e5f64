// Validates an OpenRPC document, and what a server said against it. Standard
// input is {"document", "results": [{"method", "value"}], "notifications":
// [{"method", "value"}], "params": [{"method", "value"}]}; what is wrong is
// printed, a line each, and nothing where nothing is.
import { readFileSync } from 'node:fs';
import Ajv from 'ajv';
import metaSchema from '@open-rpc/meta-schema';
import jsonSchema from '@json-schema-tools/meta-schema';

const { document, results = [], notifications = [], params = [] } = JSON.parse(readFileSync(0, 'utf8'));
const complain = (what, validate) => {
  for (const e of validate.errors ?? []) {
    console.log(`${what}: ${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
  }
};

// The meta-schema is written in a dialect of JSON Schema of its own, which ajv
// reads as draft 7 under a name without a host.
const named = (id, { $schema, ...schema }) => ({
  ...JSON.parse(JSON.stringify(schema).replace(/https:\/\/meta\.json-schema\.tools\/?#?/g, 'dialect#')), $id: id,
});
const meta = new Ajv({ strict: false, allErrors: true, validateFormats: false });
meta.addSchema(named('dialect', jsonSchema.jsonSchema));
const isDocument = meta.compile(named('openrpc', metaSchema.openrpcDocument));
isDocument(document);
complain('document', isDocument);

// Every schema of the document is one, in strict mode, and every value is as its
// schema says.
const ajv = new Ajv({ allErrors: true, strict: true, strictRequired: false, allowUnionTypes: true });
ajv.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
ajv.addVocabulary(['x-deprecated', 'components', 'openrpc', 'info', 'servers', 'methods', 'x-notifications']);
ajv.addSchema({ $id: 'doc', ...document });
const methods = new Map(document.methods.map((m) => [m.name, m]));
const notes = new Map(document['x-notifications'].map((n) => [n.name, n]));
const rebase = (schema) => JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', '"doc#/components/'));
const objectOf = (fields) => ({
  type: 'object',
  properties: Object.fromEntries(fields.map((f) => [f.name, rebase(f.schema)])),
  required: fields.filter((f) => f.required).map((f) => f.name),
});
const check = (what, schema, value) => {
  const validate = ajv.compile(schema);
  validate(value);
  complain(what, validate);
};
for (const name of Object.keys(document.components.schemas)) {
  ajv.compile({ $ref: `doc#/components/schemas/${name}` });
}
for (const m of document.methods) {
  ajv.compile(objectOf(m.params));
}
for (const { method, value } of results) {
  check(`result of ${method}`, rebase(methods.get(method).result.schema), value);
}
for (const { method, value } of params) {
  check(`params of ${method}`, objectOf(methods.get(method).params), value);
}
for (const { method, value } of notifications) {
  check(method, objectOf(notes.get(method).params), value);
}
