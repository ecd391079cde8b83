#include "stages/loss_list.h"

namespace cskd::stages {

const Loss* LossCursor::of(std::uint64_t number) {
  while (cursor_.current() != nullptr && cursor_.current()->loser < number) cursor_.advance();
  return cursor_.current() != nullptr && cursor_.current()->loser == number ? cursor_.current() : nullptr;
}

}  // namespace cskd::stages
