#include <cstdio>

int main() {
  std::puts("ollamax version is 0.1.0");
  return 0;
}
