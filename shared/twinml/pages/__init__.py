"""What all HTML pages share: templates, one style sheet, figures, tables and wording."""
