#pragma once
// The `options` of a request over the model's parameters over the defaults: one table of names, types and places.
// Used by generate and chat; what the values do is the engine's.

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/server.h"
#include "server/store/model_store.h"

namespace olx::server {

struct RequestOptions {
  engine::SamplingOptions sampling;
  std::vector<std::string> stop;
  RequestOptions() { sampling.repeat_penalty = 1.0f; }  // Ollama's default; older releases had 1.1
  int num_predict = -1;
  int num_keep = 4;
  static constexpr int kDraftsUnasked = -2;
  int draft_num_predict = kDraftsUnasked;  // tokens guessed ahead at most; 0: none, < 0: as many as pay
  // Whether the last record counts drafts: a client that does not know of them gets Ollama's fields and no other.
  bool wants_draft_counts() const { return draft_num_predict != kDraftsUnasked || (draft && !draft->empty()); }
  // Changing one of these loads the model again.
  int num_ctx = 0;     // 0: the server's default
  int num_batch = 512;
  int num_thread = 0;
  int num_gpu = -1;   // layers on the server's devices; -1: as many as fit
  int main_gpu = -1;  // the one device that gets them; -1: one, or as many as it takes
  std::optional<std::string> draft;  // an installed model that guesses for this one; "": none; nullopt: the server's
};

// given may be nullptr. Unknown names are ignored; a value of a wrong type is ApiError 500 in Ollama's words.
RequestOptions merge_options(const ServerOptions& server, const Parameters& model, const boost::json::object* given);

// "keep_alive": seconds (may be fractional) or a Go duration; < 0 is for ever. nullopt: not given. ApiError 400.
std::optional<int64_t> parse_keep_alive(const boost::json::value* value);

}  // namespace olx::server
