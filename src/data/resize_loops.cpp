#include "data/resize_loops.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#pragma GCC diagnostic push
// GCC 12 takes the registers that its own intrinsics leave undefined on purpose for a mistake (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace cskd::data {
namespace {

template <int kParts>
constexpr int kBits = kParts == 2 ? kCoefficientBits : kFastCoefficientBits;

// Products and sums wrap around as those of the processor do; what comes out in the end fits.
template <int kParts>
std::uint32_t product(const std::uint16_t* pair, const std::int16_t* taps) {
  const auto part = [&](std::size_t i) {
    return static_cast<std::uint32_t>(pair[0] * taps[2 * i] + pair[1] * taps[2 * i + 1]);
  };
  if constexpr (kParts == 1) return part(0);
  return (part(0) << static_cast<unsigned>(kLowBits)) + part(kParts - 1);
}

template <int kParts>
std::uint8_t rounded(std::uint32_t sum) {
  constexpr std::uint32_t kHalf = 1U << static_cast<unsigned>(kBits<kParts> - 1);
  return static_cast<std::uint8_t>(std::clamp(static_cast<std::int32_t>(sum + kHalf) >> kBits<kParts>, 0, 255));
}

void lay_portable(const std::uint8_t* const* rows, int columns, std::uint16_t* to) {
  for (int r = 0; r < kRowsAtOnce; ++r) {
    for (int x = 0; x < columns; ++x) {
      std::uint16_t* pair = to + kPairWords * static_cast<std::size_t>(x / 2) + std::ptrdiff_t{8} * r + x % 2;
      for (std::size_t c = 0; c < 4; ++c) pair[2 * c] = rows[r][std::ptrdiff_t{4} * x + static_cast<std::ptrdiff_t>(c)];
    }
  }
}

template <int kParts>
void columns_of_parts(const std::uint16_t* from, int origin, const TapAxis& axis, std::uint16_t* upper,
                      std::uint16_t* lower) {
  for (std::size_t x = 0; x < axis.windows.size(); ++x, upper += 6, lower += 6) {
    constexpr std::size_t kSums = kPairWords / 2;
    std::uint32_t sums[kSums] = {};
    const std::uint16_t* pairs = from + kPairWords * static_cast<std::size_t>(axis.windows[x] - origin);
    for (int k = 0; k < axis.count; ++k, pairs += kPairWords) {
      for (std::size_t i = 0; i < kSums; ++i)
        sums[i] += product<kParts>(pairs + 2 * i, axis.of(x) + std::ptrdiff_t{2} * kParts * k);
    }
    for (int c = 0; c < 3; ++c) {
      for (int side = 0; side < 2; ++side) {
        upper[2 * c + side] = rounded<kParts>(sums[4 * side + c]);
        lower[2 * c + side] = rounded<kParts>(sums[4 * (2 + side) + c]);
      }
    }
  }
}

void columns_portable(const std::uint16_t* from, int origin, const TapAxis& axis, std::uint16_t* upper,
                      std::uint16_t* lower) {
  (axis.parts == 2 ? columns_of_parts<2> : columns_of_parts<1>)(from, origin, axis, upper, lower);
}

template <int kParts>
void rows_of_parts(const std::uint16_t* from, std::size_t pitch, const TapAxis& axis, std::size_t row,
                   std::size_t samples, std::uint8_t* to) {
  const std::int16_t* taps = axis.of(row);
  for (std::size_t i = 0; i < samples; ++i) {
    std::uint32_t sum = 0;
    for (int k = 0; k < axis.count; ++k)
      sum += product<kParts>(from + pitch * static_cast<std::size_t>(k) + 2 * i, taps + std::ptrdiff_t{2} * kParts * k);
    to[i] = rounded<kParts>(sum);
  }
}

void rows_portable(const std::uint16_t* from, std::size_t pitch, const TapAxis& axis, std::size_t row,
                   std::size_t samples, std::uint8_t* to) {
  (axis.parts == 2 ? rows_of_parts<2> : rows_of_parts<1>)(from, pitch, axis, row, samples, to);
}

#if defined(__x86_64__)

#define CSKD_AVX2 __attribute__((target("avx2")))

void CSKD_AVX2 lay_avx2(const std::uint8_t* const* rows, int columns, std::uint16_t* to) {
  // From RGBX RGBX RGBX RGBX to RR GG BB XX of the first two pixels, then of the last two.
  const __m128i pairs = _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
  for (std::ptrdiff_t x = 0; x < columns; x += 4, to += 2 * kPairWords) {
    for (int r = 0; r < kRowsAtOnce; ++r) {
      const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + 4 * x));
      const __m256i words = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(four, pairs));
      auto* target = reinterpret_cast<__m128i*>(to + std::ptrdiff_t{8} * r);
      _mm_storeu_si128(target, _mm256_castsi256_si128(words));
      _mm_storeu_si128(target + kPairWords / 8, _mm256_extracti128_si256(words, 1));
    }
  }
}

// Eight sums of pairs; the second one is there for two parts only.
template <int kParts>
struct Sums {
  __m256i high;
  __m256i low;

  CSKD_AVX2 Sums() : high(_mm256_setzero_si256()), low(_mm256_setzero_si256()) {}
  CSKD_AVX2 void add(const std::uint16_t* pairs, const __m256i* taps) {
    const __m256i samples = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(samples, taps[0]));
    if constexpr (kParts == 2) low = _mm256_add_epi32(low, _mm256_madd_epi16(samples, taps[1]));
  }
  CSKD_AVX2 __m256i rounded() const {
    __m256i sum = high;
    if constexpr (kParts == 2) sum = _mm256_add_epi32(_mm256_slli_epi32(high, kLowBits), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << (kBits<kParts> - 1))), kBits<kParts>);
  }
};

// A pair of coefficients for each part, in every place.
template <int kParts>
CSKD_AVX2 inline void load_taps(const std::int16_t* taps, __m256i* to) {
  for (int part = 0; part < kParts; ++part) {
    std::int32_t both = 0;
    std::memcpy(&both, taps + std::ptrdiff_t{2} * part, sizeof both);
    to[part] = _mm256_set1_epi32(both);
  }
}

template <int kParts>
void CSKD_AVX2 columns_avx2_of_parts(const std::uint16_t* from, int origin, const TapAxis& axis, std::uint16_t* upper,
                                     std::uint16_t* lower) {
  // Of two rows RGBX RGBX, as bytes, to RR GG BB XX.
  const __m128i pairs_of_rows = _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
  for (std::size_t x = 0; x < axis.windows.size(); ++x, upper += 6, lower += 6) {
    const std::uint16_t* pairs = from + kPairWords * static_cast<std::size_t>(axis.windows[x] - origin);
    const std::int16_t* coefficients = axis.of(x);
    Sums<kParts> upper_sums;
    Sums<kParts> lower_sums;
    for (int k = 0; k < axis.count; ++k, pairs += kPairWords, coefficients += std::ptrdiff_t{2} * kParts) {
      __m256i taps[kParts];
      load_taps<kParts>(coefficients, taps);
      upper_sums.add(pairs, taps);
      lower_sums.add(pairs + kPairWords / 2, taps);
    }
    // Packing works on both halves of a register apart, so that rows lie there as 0, 2 and 1, 3.
    const __m256i words = _mm256_packs_epi32(upper_sums.rounded(), lower_sums.rounded());
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const __m128i rows = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    const __m256i both = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(rows, pairs_of_rows));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(upper), _mm256_castsi256_si128(both));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lower), _mm256_extracti128_si256(both, 1));
  }
}

void CSKD_AVX2 columns_avx2(const std::uint16_t* from, int origin, const TapAxis& axis, std::uint16_t* upper,
                            std::uint16_t* lower) {
  (axis.parts == 2 ? columns_avx2_of_parts<2> : columns_avx2_of_parts<1>)(from, origin, axis, upper, lower);
}

template <int kParts>
void CSKD_AVX2 rows_avx2_of_parts(const std::uint16_t* from, std::size_t pitch, const TapAxis& axis, std::size_t row,
                                  std::size_t samples, std::uint8_t* to) {
  constexpr std::size_t kBlock = 32;
  std::size_t block = 0;
  for (; block + kBlock <= samples; block += kBlock) {
    Sums<kParts> sums[4];
    const std::uint16_t* pairs = from + 2 * block;
    const std::int16_t* coefficients = axis.of(row);
    for (int k = 0; k < axis.count; ++k, pairs += pitch, coefficients += std::ptrdiff_t{2} * kParts) {
      __m256i both[kParts];
      load_taps<kParts>(coefficients, both);
      for (int i = 0; i < 4; ++i) sums[i].add(pairs + std::ptrdiff_t{16} * i, both);
    }
    const __m256i words = _mm256_packs_epi32(sums[0].rounded(), sums[1].rounded());
    const __m256i more_words = _mm256_packs_epi32(sums[2].rounded(), sums[3].rounded());
    // Packed in halves: the eight fours of bytes lie there as 0, 2, 4, 6 and 1, 3, 5, 7.
    const __m256i bytes = _mm256_packus_epi16(words, more_words);
    const __m256i in_order = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + block), in_order);
  }
  rows_of_parts<kParts>(from + 2 * block, pitch, axis, row, samples - block, to + block);
}

void CSKD_AVX2 rows_avx2(const std::uint16_t* from, std::size_t pitch, const TapAxis& axis, std::size_t row,
                         std::size_t samples, std::uint8_t* to) {
  (axis.parts == 2 ? rows_avx2_of_parts<2> : rows_avx2_of_parts<1>)(from, pitch, axis, row, samples, to);
}

// The same with registers of twice the size, and one instruction that multiplies, adds and adds to the sums (Intel from
// Ice Lake on, AMD from Zen 4 on).
#define CSKD_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

template <int kParts>
struct SixteenSums {
  __m512i parts[kParts];

  CSKD_AVX512 SixteenSums() {
    for (__m512i& part : parts) part = _mm512_setzero_si512();
    parts[kParts - 1] = _mm512_set1_epi32(1 << (kBits<kParts> - 1));
  }
  CSKD_AVX512 void add(const std::uint16_t* pairs, const std::int16_t* taps) {
    const __m512i samples = _mm512_loadu_si512(pairs);
    for (int part = 0; part < kParts; ++part, taps += 2) {
      std::int32_t both = 0;
      std::memcpy(&both, taps, sizeof both);
      parts[part] = _mm512_dpwssd_epi32(parts[part], samples, _mm512_set1_epi32(both));
    }
  }
  CSKD_AVX512 __m128i rounded() const {
    __m512i sum = parts[0];
    if constexpr (kParts == 2) sum = _mm512_add_epi32(_mm512_slli_epi32(sum, kLowBits), parts[1]);
    sum = _mm512_max_epi32(_mm512_srai_epi32(sum, kBits<kParts>), _mm512_setzero_si512());
    return _mm512_cvtusepi32_epi8(sum);
  }
};

template <int kParts>
CSKD_AVX512 void columns_avx512_of_parts(const std::uint16_t* from, int origin, const TapAxis& axis,
                                         std::uint16_t* upper, std::uint16_t* lower) {
  const __m128i pairs_of_rows = _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
  const int count = axis.count;
  const std::int16_t* taps = axis.taps.data();
  for (const int first : axis.windows) {
    const std::uint16_t* pairs = from + kPairWords * static_cast<std::size_t>(first - origin);
    SixteenSums<kParts> sums;
    for (int k = 0; k < count; ++k, pairs += kPairWords, taps += std::ptrdiff_t{2} * kParts) sums.add(pairs, taps);
    const __m256i both = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(sums.rounded(), pairs_of_rows));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(upper), _mm256_castsi256_si128(both));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lower), _mm256_extracti128_si256(both, 1));
    upper += 6;
    lower += 6;
  }
}

CSKD_AVX512 void columns_avx512(const std::uint16_t* from, int origin, const TapAxis& axis, std::uint16_t* upper,
                                std::uint16_t* lower) {
  (axis.parts == 2 ? columns_avx512_of_parts<2> : columns_avx512_of_parts<1>)(from, origin, axis, upper, lower);
}

template <int kParts>
CSKD_AVX512 void rows_avx512_of_parts(const std::uint16_t* from, std::size_t pitch, const TapAxis& axis,
                                      std::size_t row, std::size_t samples, std::uint8_t* to) {
  constexpr std::size_t kBlock = 32;
  const int count = axis.count;
  std::size_t block = 0;
  for (; block + kBlock <= samples; block += kBlock) {
    SixteenSums<kParts> first;
    SixteenSums<kParts> second;
    const std::uint16_t* pairs = from + 2 * block;
    const std::int16_t* taps = axis.of(row);
    for (int k = 0; k < count; ++k, pairs += pitch, taps += std::ptrdiff_t{2} * kParts) {
      first.add(pairs, taps);
      second.add(pairs + kBlock, taps);
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + block), first.rounded());
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + block + kBlock / 2), second.rounded());
  }
  rows_of_parts<kParts>(from + 2 * block, pitch, axis, row, samples - block, to + block);
}

CSKD_AVX512 void rows_avx512(const std::uint16_t* from, std::size_t pitch, const TapAxis& axis, std::size_t row,
                             std::size_t samples, std::uint8_t* to) {
  (axis.parts == 2 ? rows_avx512_of_parts<2> : rows_avx512_of_parts<1>)(from, pitch, axis, row, samples, to);
}

#endif

}  // namespace

std::vector<ResizeLoops> resize_loops() {
  std::vector<ResizeLoops> loops{{lay_portable, columns_portable, rows_portable}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0) {
    loops.push_back({lay_avx2, columns_avx2, rows_avx2});
    if (__builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
        __builtin_cpu_supports("avx512vnni") != 0)
      loops.push_back({lay_avx2, columns_avx512, rows_avx512});
  }
#endif
  return loops;
}

}  // namespace cskd::data
