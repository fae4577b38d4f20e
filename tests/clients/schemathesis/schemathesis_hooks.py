"""Hooks of the schemathesis command, which finds them through SCHEMATHESIS_HOOKS. See run_group.py."""
import schemathesis

# Errors of the caller that Ollama answers with 500.
OLLAMAS_500 = ("invalid format: ", 'option "')
STORE = ("/api/create", "/api/copy", "/api/delete", "/api/pull", "/api/push")


@schemathesis.check
def no_unknown_server_error(ctx, response, case):
    if response.status_code < 500:
        return
    error = response.json()["error"]
    text = error["message"] if isinstance(error, dict) else error
    if not text.startswith(OLLAMAS_500):
        raise AssertionError(f"{response.status_code}: {text}")


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """A made up model's name is a 404 and nothing more: the one that is there answers, in a few tokens."""
    body = case.body
    if not isinstance(body, dict) or not isinstance(body.get("model"), str) or case.operation.path in STORE:
        return
    body["model"] = "smollm2:135m"
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if isinstance(body.get(name), int):
            body[name] = min(body[name], 3)
    if "/v1/" not in case.operation.path and isinstance(body.get("options", {}), dict):
        options = body.setdefault("options", {})
        for name, value in (("num_predict", 3), ("num_ctx", 512)):
            if isinstance(options.get(name, 0), int):
                options[name] = value
