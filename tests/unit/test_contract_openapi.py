"""The OpenAPI documents: valid, complete, and true of what the parser takes."""

from __future__ import annotations

import json

import jsonschema
import pytest
from openapi_spec_validator import validate

from twinml.contract import Column, Contract, openapi, parse
from twinml.contract.dialects import ROUTES
from twinml.errors import PayloadError, UsageError

VERSIONS = ["2", "3", "3.1"]
CONTRACT = Contract(
    name="bank-full",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=100,
    columns=(
        Column("age", "long", False, None, 18, 95, "Age in years."),
        Column("balance", "double", True, None, -10.0, 99.5),
        Column("job", "string", True, ("admin.", "services")),
        Column("note", "string", True, None),
        Column("loan", "boolean", False),
    ),
    samples=(
        {"age": 41, "balance": 1.5, "job": "services", "note": "a", "loan": True},
        {"age": 30, "balance": None, "job": None, "note": None, "loan": False},
    ),
)
ROUTES_SERVED = {
    "/": "get",
    "/health": "get",
    "/invocations": "post",
    "/ping": "get",
    "/score": "post",
    "/swagger.json": "get",
    "/version": "get",
}


def document(version: str, **options) -> dict:
    return openapi(CONTRACT, version=version, **options)


def definitions(version: str) -> dict:
    found = document(version)
    return found["definitions"] if version == "2" else found["components"]["schemas"]


def operation(version: str, route: str) -> dict:
    return document(version)["paths"][f"/{route}"]["post"]


def examples(version: str, route: str) -> dict:
    described = operation(version, route)
    if version == "2":
        return next(p for p in described["parameters"] if p["in"] == "body")["x-examples"]
    return described["requestBody"]["content"]["application/json"]["examples"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server_url", [None, "http://127.0.0.1:5001", "https://a.example/api/"])
def test_the_document_is_valid(version, server_url):
    validate(document(version, server_url=server_url, title="Bank"))


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_of_every_type_make_valid_documents(version):
    for classes in ((0, 1), (False, True), (0.5, 1.0)):
        changed = CONTRACT.to_dict() | {"classes": list(classes), "samples": []}
        validate(openapi(Contract.from_dict(changed), version=version))


@pytest.mark.parametrize(
    ("version", "key", "value"),
    [("2", "swagger", "2.0"), ("3", "openapi", "3.0.3"), ("3.1", "openapi", "3.1.0")],
)
def test_the_document_says_its_version_and_nothing_that_json_cannot(version, key, value):
    found = document(version)
    assert found[key] == value
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert document(version) == found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_of_one_dialect_is_described_with_that_one_only(version):
    found = document(version, server_url="https://bank.example", only="input_data")
    validate(found)
    assert list(found["paths"]) == ["/score"]
    text = json.dumps(found)
    assert "InputDataRequest" in text or version == "2"
    for foreign in ("text/csv", "dataframe_split", "InputsRequest", "GlobalParameters", "/health"):
        assert foreign not in text, foreign
    assert len(text) < len(json.dumps(document(version, server_url="https://bank.example")))


def test_another_version_is_refused():
    with pytest.raises(UsageError, match="'4'"):
        document("4")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_route_is_described_once(version):
    paths = document(version)["paths"]
    assert {path: next(iter(item)) for path, item in paths.items()} == ROUTES_SERVED
    operations = [paths[path][verb] for path, verb in ROUTES_SERVED.items()]
    ids = [described["operationId"] for described in operations]
    assert len(set(ids)) == len(ids)
    assert all(described["summary"] and described["tags"] for described in operations)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("route", ["score", "invocations"])
def test_every_example_request_is_accepted(version, route):
    found = examples(version, route)
    dialects = set()
    for name, entry in found.items():
        body = json.dumps(entry["value"]).encode()
        request = parse(CONTRACT, body, content_type="application/json", route=route)
        assert request.n_rows == 2
        assert request.method == ("predict_proba" if name.endswith("_probabilities") else "predict")
        dialects.add(request.dialect)
    assert dialects == set(ROUTES[route].values())
    assert any(name.endswith("_probabilities") for name in found)


@pytest.mark.parametrize("version", ["3", "3.1"])
@pytest.mark.parametrize("route", ["score", "invocations"])
def test_the_csv_example_is_accepted(version, route):
    described = operation(version, route)["requestBody"]["content"]["text/csv"]
    text = described["examples"]["csv"]
    jsonschema.validate(text["value"], described["schema"])
    body = text["value"].encode()
    assert parse(CONTRACT, body, content_type="text/csv", route=route).n_rows == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_examples_inside_the_schemas_are_accepted(version):
    seen = 0
    for name, schema in definitions(version).items():
        for value in schema.get("examples", [schema["example"]] if "example" in schema else []):
            body = {"data": [value]} if name == "Row" else value
            route = next(r for r, keys in ROUTES.items() if set(keys) & set(body))
            raw = json.dumps(body).encode()
            assert parse(CONTRACT, raw, content_type="application/json", route=route).n_rows
            seen += 1
    assert seen == 8
    if version == "2":
        body = next(p for p in operation("2", "score")["parameters"] if p["in"] == "body")
        raw = json.dumps(body["schema"]["example"]).encode()
        assert parse(CONTRACT, raw, content_type="application/json", route="score").n_rows == 2


@pytest.mark.parametrize("route", ["score", "invocations"])
def test_requests_and_replies_fit_their_own_schemas(route):
    found = document("3.1")
    described = found["paths"][f"/{route}"]["post"]
    request = described["requestBody"]["content"]["application/json"]
    reply = described["responses"]["200"]["content"]["application/json"]
    for content in (request, reply):
        schema = content["schema"] | {"components": found["components"]}
        for entry in content["examples"].values():
            jsonschema.validate(entry["value"], schema, cls=jsonschema.Draft202012Validator)
    bad = {"input_data": {"columns": ["age"], "data": [[1]]}, "dataframe_records": [{"age": 1}]}
    schema = request["schema"] | {"components": found["components"]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("version", "nullable"), [("2", {"x-nullable": True}), ("3", {"nullable": True})]
)
def test_columns_are_described_with_what_training_showed(version, nullable):
    properties = definitions(version)["Row"]["properties"]
    assert properties["age"] == {
        "type": "integer",
        "format": "int64",
        "description": "Age in years. Training rows: 18 to 95.",
        "x-training-minimum": 18,
        "x-training-maximum": 95,
    }
    assert properties["balance"] == {
        "type": "number",
        "format": "double",
        "description": "Training rows: -10.0 to 99.5.",
        "x-training-minimum": -10.0,
        "x-training-maximum": 99.5,
        **nullable,
    }
    assert properties["job"] == {
        "type": "string",
        "description": "Known values: admin., services; any other text is an unknown category.",
        "x-known-values": ["admin.", "services"],
        **nullable,
    }
    assert properties["note"] == {"type": "string", **nullable}
    assert properties["loan"] == {"type": "boolean"}
    assert definitions(version)["Row"]["required"] == list(CONTRACT.column_names)


VALUES = {
    "age": (
        [41, -(2**63), 2**63 - 1, 56.5, "56", "-7", True],
        [None, "", "x", "5.5", 2**63, -(2**63) - 1, 1e19, [1], {}],
    ),
    "balance": ([1.5, 1, None, "1.5", "-.5e-3", "7.", False], ["", "x", "1,5", [], {}]),
    "job": (["admin.", "never seen", "", None], [["admin."], {}, 7, 1.5, True]),
    "loan": ([True, False, 0, 1, "true", "FALSE", "0"], [None, 2, -1, 0.5, "x", "", []]),
}


@pytest.mark.parametrize("column", VALUES)
def test_version_3_1_describes_exactly_what_the_parser_takes(column):
    components = document("3.1")["components"]
    schema = components["schemas"]["DataRequest"] | {"components": components}
    for fits, values in zip((True, False), VALUES[column], strict=True):
        for value in values:
            row = CONTRACT.samples[0] | {column: value}
            for data in ([row], [list(row.values())], {name: [v] for name, v in row.items()}):
                body = {"data": data}
                assert jsonschema.Draft202012Validator(schema).is_valid(body) == fits, body
                assert accepted(body) == fits, body


def accepted(body, route="score", content_type="application/json"):
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    try:
        parse(CONTRACT, raw, content_type=content_type, route=route)
    except PayloadError:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"other": [1]}, True),
        ({"method": None}, True),
        ({"method": "predict_proba", "params": None, "GlobalParameters": 1.0}, True),
        ({"params": {"method": None, "more": 1}}, True),
        ({"method": "x"}, False),
        ({"method": "x", "params": {"method": "predict"}}, False),
        ({"params": []}, False),
        ({"params": 1.0}, False),
        ({"GlobalParameters": "x"}, False),
        ({"input_data": None}, False),
        ({"Inputs": {"data": []}}, False),
        ({"data": []}, False),
        ({"data": {}}, False),
        ({"data": [[]]}, False),
        ({"data": "x"}, False),
        ({"data": {"age": []}}, False),
    ],
)
def test_version_3_1_describes_what_stands_around_the_rows(change, fits):
    components = document("3.1")["components"]
    schema = components["schemas"]["DataRequest"] | {"components": components}
    body = {"data": [CONTRACT.samples[0]]} | change
    assert jsonschema.Draft202012Validator(schema).is_valid(body) == fits
    assert accepted(body) == fits


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("age,balance,job,note,loan\n41,1.5,services,a,true\n", True),
        ('age,balance,job,note,loan\r\n41,,,"a ""b"",\n",0\r\n-1,1e3,x,,1', True),
        ("age,balance,job,note,loan\n", False),
        ("age,balance,job,note,loan\n,1.5,services,a,true\n", False),
        ("age,balance,job,note,loan\n41,x,services,a,true\n", False),
        ("age,balance,job,note,loan\n41,1.5,services,a\n", False),
        ("age,balance,job,note\n41,1.5,services,a\n", False),
        ("", False),
    ],
)
def test_version_3_1_describes_csv(text, fits):
    described = operation("3.1", "score")["requestBody"]["content"]["text/csv"]["schema"]
    assert jsonschema.Draft202012Validator(described).is_valid(text) == fits
    assert accepted(text, content_type="text/csv") == fits


def test_many_categories_are_cut_in_the_text_only():
    values = tuple(f"v{number:02}" for number in range(25))
    contract = Contract.from_dict(
        CONTRACT.to_dict()
        | {
            "columns": [
                {
                    "name": "v",
                    "type": "string",
                    "nullable": True,
                    "categories": list(values),
                    "minimum": None,
                    "maximum": None,
                    "description": "",
                }
            ],
            "samples": [],
        }
    )
    column = openapi(contract, version="3")["components"]["schemas"]["Row"]["properties"]["v"]
    assert column["x-known-values"] == list(values)
    assert "v19 and 5 more;" in column["description"]
    assert "v20" not in column["description"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("route", ["score", "invocations"])
def test_errors_have_the_one_shape(version, route):
    responses = operation(version, route)["responses"]
    assert set(responses) == {"200", "400", "401", "413", "415", "431"}
    for status, response in responses.items():
        if status != "200":
            content = response if version == "2" else response["content"]["application/json"]
            assert content["schema"]["$ref"].endswith("/Error")


@pytest.mark.parametrize(
    "body", [b"{", b'{"data": []}', b'{"data": [{"age": "x"}]}', b'{"data": [[1,"x",1,[1],2]]}']
)
def test_a_real_refusal_fits_the_error_schema(body):
    with pytest.raises(PayloadError) as caught:
        parse(CONTRACT, body, content_type="application/json", route="score")
    components = document("3.1")["components"]
    schema = components["schemas"]["Error"] | {"components": components}
    shape = json.loads(json.dumps(caught.value.to_dict()))
    jsonschema.validate(shape, schema, cls=jsonschema.Draft202012Validator)
    assert set(shape) <= set(schema["properties"])
    for detail in shape.get("details", []):
        assert set(detail) == set(components["schemas"]["Detail"]["properties"])


@pytest.mark.parametrize("version", VERSIONS)
def test_scoring_needs_the_key_and_the_service_routes_do_not(version):
    found = document(version)
    schemes = (
        found["securityDefinitions"] if version == "2" else found["components"]["securitySchemes"]
    )
    if version == "2":
        assert schemes["bearer"]["type"] == "apiKey"
        assert (schemes["bearer"]["in"], schemes["bearer"]["name"]) == ("header", "Authorization")
    else:
        assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    for path, verb in ROUTES_SERVED.items():
        expected = [{"bearer": []}] if path in ("/score", "/invocations") else []
        assert found["paths"][path][verb]["security"] == expected


def test_the_address_is_written_in_each_versions_way():
    url = "https://a.example:8443/api/"
    assert document("3", server_url=url)["servers"] == [{"url": "https://a.example:8443/api"}]
    found = document("2", server_url=url)
    assert (found["host"], found["basePath"], found["schemes"]) == (
        "a.example:8443",
        "/api",
        ["https"],
    )
    assert "servers" not in document("3.1")
    assert "host" not in document("2")


def test_title_and_version_follow_the_contract():
    assert document("3")["info"]["title"] == "bank-full"
    assert document("3", title="Bank")["info"]["title"] == "Bank"
    assert CONTRACT.digest.startswith(document("3")["info"]["version"])
