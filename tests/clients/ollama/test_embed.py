"""POST /api/embed and /api/embeddings through ollama-python."""
import math

import ollama
from both import MODEL, both


def length(vector):
    return math.sqrt(sum(value * value for value in vector))


@both
class Embed:
    def test_one_text(self):
        answer = self.ask("embed", "all-minilm", "Why is the sky blue?")
        self.assertIsInstance(answer, ollama.EmbedResponse)
        self.assertEqual(answer.model, "all-minilm")
        self.assertEqual([len(vector) for vector in answer.embeddings], [576])
        self.assertAlmostEqual(length(answer.embeddings[0]), 1, places=4)
        for name in ("total_duration", "load_duration", "prompt_eval_count"):
            self.assertGreater(getattr(answer, name), 0, name)

    def test_several_texts_keep_their_order(self):
        texts = ["a cat", "the stock market fell", "a kitten"]
        together = self.ask("embed", "all-minilm", texts).embeddings
        for text, vector in zip(texts, together):
            alone = self.ask("embed", "all-minilm", text).embeddings[0]
            self.assertGreater(sum(a * b for a, b in zip(alone, vector)), 0.9999)

    def test_dimensions(self):
        whole = self.ask("embed", "all-minilm", "a cat").embeddings[0]
        cut = self.ask("embed", "all-minilm", "a cat", dimensions=64).embeddings[0]
        self.assertEqual(len(cut), 64)
        self.assertAlmostEqual(length(cut), 1, places=4)
        self.assertAlmostEqual(cut[0] / cut[1], whole[0] / whole[1], places=3)

    def test_truncation(self):
        long = "the quick brown fox " * 400
        self.check_error(400, "the input length exceeds the context length", "embed", "all-minilm", long, truncate=False,
                         options={"num_ctx": 256})
        answer = self.ask("embed", "all-minilm", long, options={"num_ctx": 256})
        self.assertLessEqual(answer.prompt_eval_count, 256)

    def test_empty_input_loads_the_model(self):
        self.assertEqual(self.ask("embed", "all-minilm", "").embeddings, [])
        self.assertIn("all-minilm:latest", [model.model for model in self.ask("ps").models])

    def test_embeddings_are_not_normalised(self):
        answer = self.ask("embeddings", "all-minilm", "Why is the sky blue?")
        self.assertIsInstance(answer, ollama.EmbeddingsResponse)
        self.assertEqual(len(answer.embedding), 576)
        self.assertGreater(abs(length(answer.embedding) - 1), 0.1)

    def test_any_model_embeds_and_an_embedding_model_does_not_talk(self):
        self.assertEqual(len(self.ask("embed", MODEL, "a cat").embeddings[0]), 576)
        self.check_error(400, '"all-minilm" does not support generate', "generate", "all-minilm", "Hi")
        self.check_error(400, '"all-minilm" does not support chat', "chat", "all-minilm", [{"role": "user", "content": "Hi"}])
        self.check_error(404, 'model "absent" not found, try pulling it first', "embed", "absent", "a cat")
        self.check_error(404, 'model "absent" not found, try pulling it first', "embeddings", "absent", "a cat")
