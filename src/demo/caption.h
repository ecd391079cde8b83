// A picture's caption: what is in it, in words, as a person or a program of theirs might note it beside a photograph.
#pragma once

#include <string>

#include "demo/scene.h"

namespace cskd::demo {

// One English sentence without a full stop: clauses divided by ", ", each true by itself and in the same order for
// every scene. They say place, light and weather; the subject, its colour, size and position; the horizon; what else
// stands around; the colours of the surroundings; how sharp subject and background are; exposure, contrast, grain,
// corners; and the look of the whole, as alternative texts on the web say it: blurred, dark, crowded, a close-up,
// backlit, how the subject's colour and position relate to the rest. Continuous facts are told in three to five words,
// hues in twelve. Mirroring a picture swaps "left" and "right" in its caption and changes nothing else. Pure, and never
// a judgement: the hidden taste has no part in it, although it weighs some of the same facts.
//
// "a picture of the sea at dusk, under a cloudy sky, the light comes from the left, the subject is a red boat, ...,
// a blurred photo, an underexposed photo, ..."
std::string caption(const Scene& scene);

}  // namespace cskd::demo
