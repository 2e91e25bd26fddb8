// What a profile makes of a model before any type is chosen: it is recognised, and some shapes change.
#pragma once

#include "plan/draft.hpp"

namespace headrace::plan {

/// Loads the profile that the options name, or that the recipe implies, and checks that it takes these inputs.
/// Throws Error: invalid_argument (an input's format, which says why; another output format), and as load_profile.
void load_profile(Draft& draft);

/// Finds which of the profile's architectures the model is of: the caller says it, or the tensors' names do, or else
/// the metadata of an input. Its rules go before the profile's own, its name into general.architecture. Where it wants
/// that, tensors of 512 elements and more whose rows are no multiple of 256, but whose elements are, become [elements /
/// 256, 256]. Throws Error(unsupported) for a layout that the profile's readers refuse, Error(invalid_argument) when it
/// needs an architecture and none fits.
void recognise(Draft& draft);

/// Notes tensors of a type that the profile's readers don't take.
void note_unreadable(Draft& draft);

/// Throws Error(unsupported) for a name that is longer than the profile's readers take.
void require_short_names(const Draft& draft);

}  // namespace headrace::plan
