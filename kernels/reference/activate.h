#pragma once
// Activations in double: of kGatedActivation and kGatedMatmul.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "gguf/check.h"
#include "kernels/api/args.h"

namespace olx::kernels::reference {

inline double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu: return x / (1 + std::exp(-x));
    case Activation::kGeluTanh:  // Hendrycks & Gimpel 2016, arXiv:1606.08415
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluErf: return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::kRelu: return std::max(x, 0.0);
  }
  OLX_CHECK(false);
}

}  // namespace olx::kernels::reference
