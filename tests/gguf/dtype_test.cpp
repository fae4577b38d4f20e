#include "gguf/dtype.h"

#include "tests/support/catch.h"

using namespace olx::gguf;

TEST_CASE("DType_RemovedAndUnknownIdsAreNotFound") {
  for (uint32_t id : {4u, 5u, 9u, 15u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 0xffffffffu}) CHECK(find_dtype(id) == nullptr);
}

TEST_CASE("DType_RowBytesFollowTheBlock") {
  CHECK(row_size_bytes(DType::kQ4_K, 512) == 288);
  CHECK(row_size_bytes(DType::kF16, 3) == 6);
}

TEST_CASE("DType_NamesAreFoundInAnyCase") {
  REQUIRE(find_dtype("q4_k") != nullptr);
  CHECK(find_dtype("q4_k")->dtype == DType::kQ4_K);
  CHECK(find_dtype("q4_x") == nullptr);
}
