/// \file instances.hpp  The heavy templates, compiled once for each backend (instances_*.cpp) and not in every command.
#pragma once

#include "program_backends.hpp"

#include <negood/clip/encode_text.hpp>
#include <negood/detector/detector.hpp>
#include <negood/io/encode_files.hpp>
#include <negood/io/model.hpp>
#include <negood/prompt/fit_negprompt.hpp>

/// Declares, or with an empty first argument defines, what the commands use on backend B.
#define NEGOOD_CLI_INSTANCES(KEYWORD, B)                                                                             \
  KEYWORD template class negood::detector<B>;                                                                        \
  KEYWORD template negood::clip::model<B> negood::clip::load<B>(B&, const std::filesystem::path&,                    \
                                                                negood::clip::load_options);                         \
  KEYWORD template negood::host_matrix<B::real> negood::clip::encode_texts_raw<B>(                                   \
      B&, const negood::clip::text_tower<B>&, const negood::bpe_tokenizer&, std::span<const std::string>,            \
      negood::clip::encode_text_options);                                                                            \
  KEYWORD template negood::host_matrix<B::real> negood::clip::encode_texts_with_templates<B>(                        \
      B&, const negood::clip::model<B>&, std::span<const std::string>, std::span<const std::string>,                 \
      negood::clip::encode_text_options);                                                                            \
  KEYWORD template negood::training_features<B::real> negood::clip::encode_image_list<B>(                            \
      B&, const negood::clip::model<B>&, const negood::image_list&, const negood::clip::encode_files_options&);      \
  KEYWORD template negood::negprompt_fit<B::real> negood::fit_negprompt<B>(                                          \
      B&, const negood::clip::text_tower<B>&, const negood::bpe_tokenizer&, double, const std::vector<std::string>&, \
      const negood::training_features<B::real>&, negood::negprompt_options, const negood::training_start<B::real>&,  \
      const negood::training_hooks<B::real>&);                                                                       \
  KEYWORD template negood::prompt_bank<B> negood::learned_prompts<float>::bind<B>(                                   \
      B&, const negood::clip::model<B>&, const std::vector<std::string>&) const;

#ifndef NEGOOD_CLI_DEFINES_INSTANCES
#define NEGOOD_CLI_DECLARE(B) NEGOOD_CLI_INSTANCES(extern, B)
NEGOOD_CLI_EACH_BACKEND(NEGOOD_CLI_DECLARE)
#undef NEGOOD_CLI_DECLARE
#endif
