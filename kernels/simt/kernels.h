#pragma once
// All kernels of this folder: what the files that expand kernels.inc include.

#include "kernels/simt/attention.h"
#include "kernels/simt/elementwise.h"
#include "kernels/simt/embed.h"
#include "kernels/simt/fused_matmul.h"
#include "kernels/simt/kv_store.h"
#include "kernels/simt/matmul_tiles.h"
#include "kernels/simt/norm.h"
#include "kernels/simt/qkv_store.h"
#include "kernels/simt/quantize.h"
#include "kernels/simt/rope.h"
#include "kernels/simt/top_k.h"
