#pragma once
// Products (panel_dot.h) of an instruction set that adds four products of bytes to an int32: the lanes.h of each includes this
// at its end. Internal linkage.
//
// Lanes, beside what panel_dot.h asks for:
//   dot(Ints sums, Bytes w, Bytes a)   sums plus the products of codes and activations

namespace olx::kernels::cpu {
namespace {

template <typename Format>
class Products {
 public:
  void add(int g, Lanes::Bytes w, Lanes::Bytes a) { sums_ = Lanes::dot(g == 0 ? Lanes::Ints{} : sums_, w, a); }
  Lanes::Ints ints() const { return sums_; }

 private:
  Lanes::Ints sums_;
};

}  // namespace
}  // namespace olx::kernels::cpu
