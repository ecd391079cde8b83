// Readers of shared files or of their copies.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "data/open_files.h"
#include "data/staging.h"
#include "runtime/error.h"
#include "shards/copied_file.h"

namespace cskd::data {

// Opens file `number` of `readers` as Reader(FilePlace, arguments...): its copy, if there is one, that stays as long as
// the reader does. Otherwise the file itself, until the copy is made and the next get() opens that. A copy that does
// not open, or has damaged parts, is given up. `staging` may be empty. Throws as Reader of the file itself.
template <typename Reader, typename... Arguments>
std::shared_ptr<const Reader> open_staged(const std::shared_ptr<Staging>& staging, const Staging::File& file,
                                          const std::shared_ptr<OpenFiles<Reader>>& readers, std::uint32_t number,
                                          const Arguments&... arguments) {
  if (!staging) return std::make_shared<const Reader>(file.path, arguments...);
  struct Leased {
    Leased(std::shared_ptr<const void> its_lease, shards::FilePlace place, const Arguments&... of_reader)
        : lease(std::move(its_lease)), reader(std::move(place), of_reader...) {}
    std::shared_ptr<const void> lease;
    Reader reader;
  };
  const auto renew = [weak = std::weak_ptr(readers), number] {
    if (const auto alive = weak.lock()) alive->renew(number);
  };
  Staging::Place place = staging->place_of(file, renew);
  if (place.lease) {
    const auto distrust = [weak = std::weak_ptr(staging), file, renew] {
      if (const auto alive = weak.lock()) alive->distrust(file);
      renew();
    };
    try {
      const auto leased = std::make_shared<const Leased>(
          std::move(place.lease), shards::FilePlace(file.path, place.path, distrust), arguments...);
      return {leased, &leased->reader};
    } catch (const runtime::Error&) {
      staging->distrust(file);
    }
  }
  return std::make_shared<const Reader>(file.path, arguments...);
}

}  // namespace cskd::data
