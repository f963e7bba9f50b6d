//! The OpenAPI description, made from the table of endpoints and the types that are answered.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::endpoints::{Answer, Endpoint, Form, Method, Parameter};

/// OpenAPI 3.1 takes JSON Schema 2020-12 as it is; only the place of the definitions is its own.
const DEFINITIONS: &str = "/components/schemas";

pub(super) fn document(endpoints: &[Endpoint], also: impl Fn(&mut SchemaGenerator)) -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = DEFINITIONS.into();
        settings.meta_schema = None;
    });
    let mut generator = settings.for_serialize().into_generator();
    also(&mut generator);
    let mut paths = Map::new();
    for endpoint in endpoints {
        let method = match endpoint.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        paths.insert(endpoint.path.to_owned(), json!({ method: operation(endpoint, &mut generator) }));
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "openclaw-trace: API port",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Health, metrics and the query API. For people, probes and the dashboard.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:9091" }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    });
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = endpoint.parameters().map(parameter).collect();
    for part in endpoint.path.split('/') {
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            let schema = json!({ "type": "string", "minLength": 1, "maxLength": 256 });
            parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
    }
    let content = match &endpoint.answer {
        Answer::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Answer::Media(types) => {
            let each = types.iter().map(|media| ((*media).to_owned(), json!({ "schema": { "type": "string" } })));
            Value::Object(each.collect())
        }
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": "The answer", "content": content }));
    let mut statuses = vec![400, 403];
    statuses.extend(endpoint.guarded.then_some(401));
    statuses.extend(endpoint.also);
    for status in statuses {
        let schema = if endpoint.path == "/readyz" && status == 503 { "Ready" } else { "Failure" };
        let content = json!({ "application/json": { "schema": { "$ref": format!("#{DEFINITIONS}/{schema}") } } });
        responses.insert(status.to_string(), json!({ "description": meaning(status), "content": content }));
    }
    let mut operation = json!({
        "summary": endpoint.summary,
        "operationId": endpoint.path.trim_matches('/').replace(['/', '{', '}', '.'], "_"),
        "parameters": parameters,
        "responses": responses,
    });
    if endpoint.guarded {
        // Where no token is set none is asked for.
        operation["security"] = json!([{}, { "token": [] }]);
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.form {
        Form::Text | Form::Texts => json!({ "type": "string", "minLength": 1, "maxLength": 256 }),
        Form::OneOf(values) => json!({ "type": "string", "enum": values }),
        Form::Time => json!({
            "type": "string",
            "description": "RFC 3339, Unix milliseconds, or a time back from now: 15m, 6h, 7d",
            "pattern": "^([0-9]{1,15}|[0-9]{1,6}[smhdw]|[0-9]{4}-[0-9]{2}-[0-9]{2}T.*)$",
        }),
        Form::Number { least, most, default } => {
            let mut schema = json!({ "type": "integer", "minimum": least, "maximum": most });
            if let Some(default) = default {
                schema["default"] = default.into();
            }
            schema
        }
        Form::Cursor => json!({ "type": "string", "pattern": "^-?[0-9]{1,19}\\.-?[0-9]{1,19}$" }),
    };
    json!({ "name": parameter.name, "in": "query", "required": false, "description": parameter.meaning, "schema": schema })
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "A parameter is not what it may be",
        401 => "The token is missing or wrong",
        403 => "Host or Origin is not ours",
        404 => "There is no such thing",
        409 => "It could not be carried out, and nothing has changed",
        422 => "The configuration is wrong: `errors` has all that is; nothing has changed",
        429 => "Too many questions are being answered",
        500 => "It could not be carried out, and the process ends",
        _ => "Not now",
    }
}
