"""POST /api/generate through ollama-python."""
import json

import ollama
import probe
from both import MODEL, SKY, both

SHORT = {"num_predict": 12}


@both
class Generate:
    def test_whole_answer(self):
        answer = self.ask("generate", MODEL, SKY)
        self.assertIsInstance(answer, ollama.GenerateResponse)
        self.assertEqual(answer.model, MODEL)
        self.assertGreater(len(answer.response), 20)
        self.assertTrue(all(isinstance(token, int) for token in answer.context))
        self.assertGreater(len(answer.context), answer.eval_count)
        self.check_last(answer, answer.done_reason)

    def test_stream_joins_to_the_whole_answer(self):
        whole = self.ask("generate", MODEL, SKY, options={"num_predict": 40})
        records = self.stream("generate", MODEL, SKY, options={"num_predict": 40})
        self.assertGreater(len(records), 10)
        self.assertTrue(all(record.done is False and record.done_reason is None for record in records[:-1]))
        self.assertEqual("".join(record.response for record in records), whole.response)
        self.assertEqual(records[-1].response, "")
        self.assertEqual(records[-1].context, whole.context)
        self.check_last(records[-1], "length")

    def test_num_predict_ends_with_length(self):
        answer = self.ask("generate", MODEL, SKY, options={"num_predict": 5})
        self.assertEqual(answer.eval_count, 5)
        self.check_last(answer, "length")

    def test_stop_text_is_left_out(self):
        answer = self.ask("generate", MODEL, "1 2 3 4 5 6 7 8 9 10 11 12 13", raw=True, options={"stop": ["16"], "num_predict": 30})
        self.assertNotIn("16", answer.response)
        self.assertIn("15", answer.response)
        self.check_last(answer)

    def test_raw_takes_the_prompt_as_it_is(self):
        answer = self.ask("generate", MODEL, "The capital of France is", raw=True, options={"num_predict": 3})
        self.assertIn("Paris", answer.response)
        self.assertIsNone(answer.context)
        with_template = self.ask("generate", MODEL, "The capital of France is", options={"num_predict": 3})
        self.assertGreater(with_template.prompt_eval_count, answer.prompt_eval_count + 5)
        self.check_error(400, "raw mode does not support template, system, or context", "generate", MODEL, "x", raw=True, system="y")

    def test_context_goes_on_with_the_conversation(self):
        first = self.ask("generate", MODEL, "My name is Zanzibar. Remember it.", options=SHORT)
        second = self.ask("generate", MODEL, "What is my name?", context=first.context, options={"num_predict": 30})
        self.assertIn("Zanzibar", second.response)
        self.assertEqual(second.context[:len(first.context)], first.context)

    def test_system_and_template_replace_the_models(self):
        plain = self.ask("generate", MODEL, "Hi", options=SHORT)
        system = self.ask("generate", MODEL, "Hi", system="You are a pirate. Say Arr and nothing else, matey.", options=SHORT)
        self.assertNotEqual(plain.prompt_eval_count, system.prompt_eval_count)
        bare = self.ask("generate", MODEL, "The capital of France is", template="{{ .Prompt }}", options={"num_predict": 3})
        self.assertIn("Paris", bare.response)

    def test_suffix_is_for_models_that_insert(self):
        self.check_error(400, f"registry.ollama.ai/library/{MODEL} does not support insert", "generate", MODEL, "def f(", suffix="return 1")
        answer = self.ask("generate", "insert", "def f(", suffix="return 1", options=SHORT)
        self.check_last(answer, answer.done_reason)

    def test_images_are_refused_by_a_text_model(self):
        self.check_error(400, f"registry.ollama.ai/library/{MODEL} does not support vision", "generate", MODEL, "What is this?",
                         images=["aGVsbG8="])

    def test_thinking_is_refused_by_a_model_that_cannot(self):
        self.check_error(400, f'"{MODEL}" does not support thinking', "generate", MODEL, SKY, think=True)

    def test_thinking_is_kept_apart(self):
        answer = self.ask("generate", "thinking", SKY, think=True, options=SHORT)
        self.assertGreater(len(answer.thinking), 10)
        self.assertNotIn("<think>", answer.thinking + answer.response)
        off = self.ask("generate", "thinking", SKY, think=False, options=SHORT)
        self.assertIsNone(off.thinking)
        self.assertGreater(len(off.response), 10)

    def test_logprobs(self):
        answer = self.ask("generate", MODEL, SKY, logprobs=True, top_logprobs=3, options={"num_predict": 6})
        self.assertEqual(len(answer.logprobs), 6)
        self.assertEqual("".join(entry.token for entry in answer.logprobs), answer.response)
        for entry in answer.logprobs:
            self.assertLessEqual(entry.logprob, 0)
            self.assertEqual(len(entry.top_logprobs), 3)
            self.assertEqual(entry.top_logprobs[0].logprob, max(top.logprob for top in entry.top_logprobs))
        streamed = self.stream("generate", MODEL, SKY, logprobs=True, options={"num_predict": 6})
        self.assertEqual(sum(len(record.logprobs or []) for record in streamed), 6)
        self.check_error(400, "top_logprobs must be between 0 and 20", "generate", MODEL, SKY, logprobs=True, top_logprobs=21)

    def test_format_json(self):
        answer = self.ask("generate", MODEL, 'Reply with this JSON: {"animal": "cat", "legs": 4}', format="json", options={"num_predict": 400})
        self.assertIsInstance(json.loads(answer.response), dict)

    def test_format_schema(self):
        schema = {"type": "object", "required": ["name", "age"], "additionalProperties": False,
                  "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 150}}}
        for text in (self.ask("generate", MODEL, "Ann is 30 years old.", format=schema).response,
                     "".join(r.response for r in self.stream("generate", MODEL, "Ann is 30 years old.", format=schema))):
            person = json.loads(text)
            self.assertEqual(set(person), {"name", "age"})
            self.assertIsInstance(person["age"], int)

    def test_format_that_is_no_schema_is_refused(self):
        # The client itself refuses another text than "json"; a schema with a keyword that is not supported goes out.
        with self.assertRaises(ollama.ResponseError) as caught:
            self.ask("generate", MODEL, SKY, format={"type": "strnig"})
        self.assertEqual(caught.exception.status_code, 400)
        self.assertIn("strnig", caught.exception.error)

    def test_options_of_all_kinds_are_taken(self):
        options = ollama.Options(num_keep=4, seed=42, num_predict=4, top_k=20, top_p=0.9, tfs_z=1.0, typical_p=0.7, repeat_last_n=33,
                                 temperature=0.8, repeat_penalty=1.2, presence_penalty=1.5, frequency_penalty=1.0, mirostat=0,
                                 mirostat_tau=0.8, mirostat_eta=0.6, penalize_newline=True, stop=["\n\n\n"], numa=False, num_ctx=2048,
                                 num_batch=64, num_gpu=0, main_gpu=0, low_vram=False, vocab_only=False, use_mmap=True, use_mlock=False,
                                 num_thread=2)
        one = self.ask("generate", MODEL, SKY, options=options)
        two = self.ask("generate", MODEL, SKY, options=options)
        self.assertEqual(one.response, two.response)
        self.check_error(500, 'option "num_predict" must be of type integer', "generate", MODEL, SKY, options={"num_predict": "many"})

    def test_empty_prompt_loads_and_keep_alive_0_unloads(self):
        loaded = self.ask("generate", MODEL, keep_alive="10m")
        self.assertEqual((loaded.done, loaded.done_reason, loaded.response), (True, "load", ""))
        self.assertIn(MODEL, [model.model for model in self.ask("ps").models])
        unloaded = self.ask("generate", MODEL, keep_alive=0)
        self.assertEqual((unloaded.done, unloaded.done_reason, unloaded.response), (True, "unload", ""))
        self.assertNotIn(MODEL, [model.model for model in self.ask("ps").models])
        self.check_error(400, 'time: missing unit in duration "300"', "generate", MODEL, keep_alive="300")

    def test_unknown_model_is_404(self):
        self.check_error(404, "model 'absent' not found", "generate", "absent", SKY)
        self.check_error(400, "invalid model name", "generate", "a/b/c/d/e", SKY)

    def test_going_away_in_the_middle_ends_the_generation(self):
        before = probe.metric_sum("ollamax_generated_tokens_total")
        records = self.first(3, "generate", MODEL, "Tell a very long story.", options={"num_predict": 3000})
        self.assertEqual(len(records), 3)
        self.assertLess(probe.wait_until_idle(), 3)
        self.assertLess(probe.metric_sum("ollamax_generated_tokens_total") - before, 1000)
