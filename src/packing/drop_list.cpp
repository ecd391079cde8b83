#include "packing/drop_list.h"

namespace cskd::packing {

const Drop* DropCursor::of(std::uint64_t number) {
  while (cursor_.current() != nullptr && cursor_.current()->dropped < number) cursor_.advance();
  return cursor_.current() != nullptr && cursor_.current()->dropped == number ? cursor_.current() : nullptr;
}

}  // namespace cskd::packing
