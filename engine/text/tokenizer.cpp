#include "engine/text/tokenizer.h"
#include "engine/text/chat_template.h"
