"""Training captions. The plain prompts `a photo of a {}.`, `the nice {}`, `This is a {} photo` are left out on purpose: they are for use."""

NAME = ['{}', '{}', '{}', 'a {}', 'the {}', 'a {}.', 'a picture of a {}', 'a picture of a {}.', 'an image of a {}.', 'an image of {}', 'a photograph of a {}.', 'a photograph of the {}',
        'a small picture of a {}.', 'a drawing of a {}.', 'this is a {}.', 'this is {}', 'here is a {}', 'one {}', 'my {}', 'the photo shows a {}.', 'a close-up photo of a {}.',
        'a bad photo of the {}.', 'a cropped photo of the {}.', 'an old {}', 'a nice picture of the {}.', 'we see a {} here.', 'look at this {}.', 'an icon of a {}', 'a {} on a plain background',
        'a dark photo of one {}.', 'some {}', 'this image shows the {}.', 'a {}, a kind of {kind}.', 'a {}, {kind}', 'photo: {}', 'a {kind} called {}']
WORD = ['{}', '{}', '{}', 'a {}', 'the {}', 'a picture of {}', 'a picture of a {}', 'an image of a {}.', 'this is a {}.', 'something {}', 'the word {}', 'a photograph of {}', 'a close-up photo of a {}.', 'the photo shows {}.']


def caption(rng, concept, kind_only=0.0):
    """A random caption for a concept of concepts.json; with probability kind_only of its kind ('an animal') alone."""
    kind = rng.choice(concept['kinds'])
    if rng.random() < kind_only:
        return rng.choice(NAME[:26]).format(kind)
    names = concept['names']
    name = names[0] if rng.random() < 0.5 else rng.choice(names)
    return rng.choice(NAME).format(name, kind=kind)


def word(rng, w):
    return rng.choice(WORD).format(w)
