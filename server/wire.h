#pragma once
// What the command line shares with the server besides HTTP: the Modelfile format, file digests,
// model names, durations; and what wants no server: the check of the models folder, a file put into it. A door of this
// folder: cli includes this and server/server.h, nothing else of it.

#include "server/json/duration.h"            // IWYU pragma: export
#include "server/modelfile/create_fields.h"  // IWYU pragma: export
#include "server/modelfile/modelfile.h"      // IWYU pragma: export
#include "server/store/digest.h"             // IWYU pragma: export
#include "server/store/fsck.h"               // IWYU pragma: export
#include "server/store/import.h"             // IWYU pragma: export
#include "server/store/model_name.h"         // IWYU pragma: export
