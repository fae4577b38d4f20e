"""Times llama.cpp through the Python package llama-cpp-python: one prompt, then greedy generation, as `ollamax-bench
model` times ollamax. Prints one JSON object. Run by `ollamax-bench peers`.

usage: llama_cpp_python.py FILE n_prompt n_generate n_depth n_threads n_sequences
"""
import ctypes
import json
import random
import resource
import sys
import time

import llama_cpp
import numpy


def main():
    path = sys.argv[1]
    n_prompt, n_generate, n_depth, n_threads, n_sequences = map(int, sys.argv[2:7])
    llama_cpp.llama_backend_init()
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    start = time.perf_counter()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp cannot load {path}")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = n_sequences * (n_depth + max(n_prompt, n_generate) + 64)
    params.n_seq_max = n_sequences
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = n_threads
    context = llama_cpp.llama_init_from_model(model, params)
    vocab = llama_cpp.llama_model_get_vocab(model)
    n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
    memory = llama_cpp.llama_get_memory(context)

    batch = llama_cpp.llama_batch_init(512, 0, 1)

    def decode(tokens):  # (token, position, sequence, wants logits)
        for i, (token, position, sequence, wants) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, wants
        batch.n_tokens = len(tokens)
        code = llama_cpp.llama_decode(context, batch)
        if code != 0:
            sys.exit(f"llama_decode gave {code}")

    def feed(tokens, sequence, start):  # in micro-batches, as the server does
        for first in range(0, len(tokens), 512):
            part = tokens[first : first + 512]
            decode([(token, start + first + i, sequence, first + i + 1 == len(tokens)) for i, token in enumerate(part)])

    def best(i):
        logits = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), shape=(n_vocab,))
        return int(logits.argmax())

    decode([(1, 0, 0, True)])
    best(0)
    start = time.perf_counter() - start
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    source = random.Random(42)
    depth = [source.randrange(n_vocab) for _ in range(n_depth)]
    prompt = [source.randrange(n_vocab) for _ in range(n_prompt)]
    seconds = {"prompt": 0.0, "generate": 0.0}
    for _ in range(2):  # the first round warms up
        llama_cpp.llama_memory_clear(memory, True)
        for sequence in range(n_sequences if depth else 0):
            feed(depth, sequence, 0)
        begin = time.perf_counter()
        if prompt:
            feed(prompt, 0, n_depth)
        seconds["prompt"] = time.perf_counter() - begin
        llama_cpp.llama_memory_seq_rm(memory, 0, n_depth, -1)
        last = [depth[-1] if depth else 1] * n_sequences
        begin = time.perf_counter()
        for step in range(n_generate):
            decode([(token, n_depth + step, sequence, True) for sequence, token in enumerate(last)])
            last = [best(i) for i in range(n_sequences)]
        seconds["generate"] = time.perf_counter() - begin
    print(json.dumps({
        "name": f"llama-cpp-python {llama_cpp.__version__}",
        "prompt_tokens_per_second": n_prompt / seconds["prompt"] if n_prompt else 0,
        "generate_tokens_per_second": n_sequences * n_generate / seconds["generate"] if n_generate else 0,
        "start_seconds": start,
        "start_peak_memory_bytes": peak_kib * 1024,
    }))


main()
